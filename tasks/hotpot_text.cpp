#include "tasks/hotpot_text.h"

#include <algorithm>

#include "core/check.h"
#include "core/words.h"
#include "tasks/hotpot_world.h"
#include "tasks/task.h"

namespace fci {
namespace {

constexpr int batch = 256; // sequences made before they are joined

Dataset empty_dataset(const TaskOptions& o) {
    Dataset d;
    d.length = o.length, d.vocab = o.vocab;
    d.correct.begin = d.starts.begin = {0};
    return d;
}

void append(PositionLists& lists, const std::vector<int32_t>& list) {
    lists.at.insert(lists.at.end(), list.begin(), list.end());
    lists.begin.push_back(static_cast<int32_t>(lists.at.size()));
}

void append(Dataset& d, const HotpotSequence& s) {
    if (!s.usable()) {
        ++d.left_out;
        return;
    }
    d.tokens.insert(d.tokens.end(), s.tokens.begin(), s.tokens.end());
    d.query.push_back(s.query), d.answer.push_back(s.correct[0]);
    append(d.correct, s.correct), append(d.starts, s.starts);
    d.correct_cut += s.correct_cut;
    ++d.count;
}

} // namespace

HotpotSequence hotpot_sequence(const HotpotExample& x, const TaskOptions& o) {
    HotpotSequence s;
    s.tokens.reserve(o.length);
    const auto length = static_cast<size_t>(o.length);
    WordReader reader(Tokeniser::whitespace);
    const auto add = [&](int32_t token) {
        if (s.tokens.size() < length) s.tokens.push_back(token);
    };
    const auto add_words = [&](std::string_view text) { // false: no words
        bool any = false;
        for (reader.read(text); s.tokens.size() < length && reader.next(); any = true)
            add(text_first_word +
                static_cast<int32_t>(reader.hash() % static_cast<uint64_t>(o.vocab - text_first_word)));
        return any;
    };
    const auto has_words = [&](std::string_view text) {
        reader.read(text);
        return reader.next();
    };
    add_words(x.question);
    s.query = static_cast<int>(s.tokens.size());
    add(text_separator);
    for (size_t i = 0, next = 0; i < x.sentences.size(); ++i) {
        const bool supporting = next < x.supporting.size() && x.supporting[next] == i;
        next += supporting;
        const auto start = static_cast<int32_t>(s.tokens.size());
        if (add_words(x.sentences[i])) {
            s.starts.push_back(start), s.sentence.push_back(static_cast<int32_t>(i));
            if (supporting) s.correct.push_back(start);
        } else
            s.correct_cut += supporting && s.tokens.size() == length && has_words(x.sentences[i]);
    }
    s.tokens.resize(length, text_pad);
    return s;
}

Dataset hotpot_dataset(std::span<const HotpotExample> examples, const TaskOptions& o, const std::string& name,
                       Workers& workers) {
    Dataset d = empty_dataset(o);
    std::vector<HotpotSequence> sequences(batch);
    for (size_t first = 0; first < examples.size(); first += batch) {
        const auto n = static_cast<int>(std::min<size_t>(batch, examples.size() - first));
        workers.run(n, [&](int i, int) { sequences[i] = hotpot_sequence(examples[first + i], o); });
        for (int i = 0; i < n; ++i) append(d, sequences[i]);
    }
    if (d.count == 0)
        fail(Exit::bad_data, "{}: none of its {} examples has a supporting sentence that starts before --length {}",
             name, examples.size(), o.length);
    return d;
}

Dataset generate_hotpot_text(const TaskOptions& o, int count, uint64_t seed, Stream stream, Workers& workers) {
    Dataset d = empty_dataset(o);
    std::vector<HotpotSequence> sequences(batch);
    for (int64_t first = 0; d.count < count; first += batch) {
        if (first >= 20 * (int64_t{batch} + d.count))
            fail(Exit::usage,
                 "--length {}: of {} generated examples only {} have a supporting sentence that starts before it: use "
                 "a larger --length",
                 o.length, first, d.count);
        workers.run(batch, [&](int i, int) {
            sequences[i] = hotpot_sequence(make_hotpot_example(seed, stream, first + i), o);
        });
        for (int i = 0; i < batch && d.count < count; ++i) append(d, sequences[i]);
    }
    return d;
}

namespace task_kinds {
extern const Task hotpotqa{
    .name = "hotpotqa",
    .about = "hotpotqa",
    .length = 1024,
    .vocab = [](const TaskOptions&) { return 8192; },
    .is_text = true,
    .require =
        [](const TaskOptions& o) {
            if (o.vocab <= text_first_word)
                fail(Exit::usage, "--vocab {} leaves no token for a word: use at least {}", o.vocab,
                     text_first_word + 1);
        },
    .generate = [](const TaskOptions& o, int count, uint64_t seed, Stream stream, Workers& workers,
                   std::vector<Annotation>*) { return generate_hotpot_text(o, count, seed, stream, workers); },
    .title = [](const TaskOptions&) -> std::string { return "text"; }};
} // namespace task_kinds

} // namespace fci
