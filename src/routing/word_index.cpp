#include "routing/word_index.h"

#include <algorithm>

#include "core/check.h"

namespace fci {

void WordIndex::grow() {
    slots_.assign(std::max<size_t>(2048, 2 * slots_.size()), -1);
    for (size_t i = 0; i < entries_.size(); ++i) {
        size_t at = entries_[i].hash & (slots_.size() - 1);
        while (slots_[at] >= 0) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = static_cast<int32_t>(i);
    }
}

int WordIndex::number_of(std::string_view word, uint64_t hash) {
    hash ^= hash >> 32; // the low bits of FNV-1a depend little on the last letters
    if (2 * entries_.size() >= slots_.size()) grow();
    size_t at = hash & (slots_.size() - 1);
    for (; slots_[at] >= 0; at = (at + 1) & (slots_.size() - 1)) {
        const Entry& e = entries_[slots_[at]];
        if (e.hash == hash && std::string_view(spelling_).substr(e.begin, e.size) == word) return slots_[at];
    }
    slots_[at] = static_cast<int32_t>(entries_.size());
    entries_.push_back({hash, static_cast<uint32_t>(spelling_.size()), static_cast<uint32_t>(word.size())});
    spelling_ += word;
    return slots_[at];
}

void WordIndex::build(std::string_view query, std::span<const std::string_view> sentences,
                      std::span<const uint32_t> begins) {
    check(!begins.empty() && begins.back() <= sentences.size(), "WordIndex: {} unit bounds for {} sentences",
          begins.size(), sentences.size());
    units_ = static_cast<int>(begins.size()) - 1;
    entries_.clear(), spelling_.clear(), query_.clear(), postings_.clear(), first_.assign(1, 0);
    std::fill(slots_.begin(), slots_.end(), -1);
    for (reader_.read(query); reader_.next();) query_.push_back(number_of(reader_.word(), reader_.hash()));
    query_words_ = words();
    counts_.assign(static_cast<size_t>(query_words_) * units_, 0);
    lengths_.assign(units_, 0);
    for (int u = 0; u < units_; ++u) {
        for (uint32_t s = begins[u]; s < begins[u + 1]; ++s)
            for (reader_.read(sentences[s]); reader_.next();) {
                const int word = number_of(reader_.word(), reader_.hash());
                ++lengths_[u];
                if (word < query_words_) ++counts_[word * units_ + u];
                Entry& e = entries_[word];
                if (e.last_unit == u) continue;
                e.last_unit = u, ++e.units;
                postings_.push_back(word);
            }
        first_.push_back(static_cast<int>(postings_.size()));
    }
}

} // namespace fci
