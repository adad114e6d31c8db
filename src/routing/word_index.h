// The word statistics of one example that word indices need, counted in one pass over its text. The text is sentences,
// and a unit (a segment, a sentence, a paragraph) is a run of them:
//   unit u = sentences [begins[u], begins[u+1]),   u = 0 .. units-1
// Words are numbered in order of appearance, the query's first. An object is reused for the next example, so
// nothing is allocated once it has grown.
#pragma once
#include <span>
#include <vector>

#include "core/words.h"

namespace fci {

class WordIndex {
public:
    explicit WordIndex(Tokeniser t) : reader_(t) {}
    void build(std::string_view query, std::span<const std::string_view> sentences, std::span<const uint32_t> begins);

    int units() const { return units_; }
    int words() const { return static_cast<int>(entries_.size()); } // distinct, the query's among them
    int length(int unit) const { return lengths_[unit]; }           // words in it
    int units_with(int word) const { return entries_[word].units; } // document frequency
    std::span<const int> query() const { return query_; }           // in order, with repeats
    int query_words() const { return query_words_; }                // distinct: words 0 .. query_words()-1
    int count(int query_word, int unit) const { return counts_[query_word * units_ + unit]; }
    std::span<const int> words_of(int unit) const { // distinct, in order of appearance
        return std::span(postings_).subspan(first_[unit], first_[unit + 1] - first_[unit]);
    }

private:
    struct Entry {
        uint64_t hash;
        uint32_t begin, size; // in spelling_
        int units = 0, last_unit = -1;
    };
    int number_of(std::string_view word, uint64_t hash);
    void grow();

    WordReader reader_;
    std::vector<Entry> entries_;
    std::vector<int32_t> slots_; // open addressing, a power of two, -1: free
    std::string spelling_;
    std::vector<int> query_, lengths_, counts_, postings_, first_;
    int units_ = 0, query_words_ = 0;
};

} // namespace fci
