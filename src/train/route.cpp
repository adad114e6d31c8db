#include "train/route.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "core/files.h"
#include "core/json.h"
#include "core/streams.h"
#include "tasks/npy.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view blanks = " \t\r\f\v";

// The next word of a line from `at` on, which is moved behind it; empty at its end. A | is a word of its own.
std::string_view next_word(std::string_view line, size_t& at) {
    at = std::min(line.find_first_not_of(blanks, at), line.size());
    const size_t begin = at;
    if (at < line.size() && line[at] == '|') return line.substr(at++, 1);
    while (at < line.size() && line[at] != '|' && blanks.find(line[at]) == blanks.npos) ++at;
    return line.substr(begin, at - begin);
}

void expect_below(const std::vector<int32_t>& numbers, int limit, const char* what, const std::string& where) {
    for (const int32_t n : numbers)
        if (n < 0 || n >= limit)
            fail(Exit::bad_data, "{}: {} {}; the model has {} to {}", where, what, n, 0, limit - 1);
}

void add(Questions& q, std::vector<int32_t> tokens, std::vector<int32_t> rows, const std::string& where,
         const std::string& where_rows) {
    if (static_cast<int>(tokens.size()) != q.length)
        fail(Exit::bad_data, "{}: {} token{}; the model is made for sequences of {}", where, tokens.size(),
             tokens.size() == 1 ? "" : "s", q.length);
    if (rows.empty()) rows.push_back(q.length - 1);
    expect_below(tokens, q.vocab, "token", where);
    expect_below(rows, q.length, "row", where_rows);
    q.tokens.push_back(std::move(tokens)), q.rows.push_back(std::move(rows));
}

Questions in_arrays(const std::string& tokens_path, const std::string& query_path, int length, int vocab) {
    const NpyArray tokens = load_npy(tokens_path, false);
    NpyArray query;
    if (!query_path.empty()) query = load_npy(query_path, true);
    if (query.rows && query.rows != tokens.rows)
        fail(Exit::bad_data, "{}: {} rows, but tokens.npy has {}", query_path, query.rows, tokens.rows);
    const auto row = [](const NpyArray& a, int i) {
        const auto begin = a.x.begin() + int64_t{i} * a.columns;
        return std::vector<int32_t>(begin, begin + a.columns);
    };
    Questions q{length, vocab, {}, {}};
    for (int i = 0; i < tokens.rows; ++i)
        add(q, row(tokens, i), query.rows ? row(query, i) : std::vector<int32_t>{},
            fmt::format("{}: sequence {}", tokens_path, i + 1), fmt::format("{}: sequence {}", query_path, i + 1));
    return q;
}

Questions in_dataset(const Dataset& d, const std::string& path, int length, int vocab) {
    Questions q{length, vocab, {}, {}};
    for (int i = 0; i < d.count; ++i) {
        const auto tokens = d.tokens.begin() + int64_t{i} * d.length;
        const auto rows = d.query.begin() + int64_t{i} * d.queries;
        const std::string where = fmt::format("{}: sequence {}", path, i + 1);
        add(q, {tokens, tokens + d.length}, {rows, rows + d.queries}, where, where);
    }
    return q;
}

// What a backbone makes of one of all the sequences.
struct FeaturesOfOne final : SequenceFeatures {
    std::shared_ptr<const SequenceFeatures> all;
    int sequence;

    FeaturesOfOne(std::shared_ptr<const SequenceFeatures> of_all, int i) : all(std::move(of_all)), sequence(i) {
        width = all->width;
    }
    void read(const int*, int, float* out) const override { all->read(&sequence, 1, out); }
};

// All sequences, for their features alone.
Dataset tokens_of(const Questions& q) {
    Dataset d;
    d.count = static_cast<int>(q.tokens.size()), d.length = q.length, d.vocab = q.vocab;
    for (const std::vector<int32_t>& tokens : q.tokens) d.tokens.insert(d.tokens.end(), tokens.begin(), tokens.end());
    return d;
}

Dataset dataset_of(const Questions& q, size_t i, const std::shared_ptr<const SequenceFeatures>& features) {
    Dataset d;
    if (features) d.features = std::make_shared<FeaturesOfOne>(features, static_cast<int>(i));
    d.count = 1, d.length = q.length, d.vocab = q.vocab, d.queries = static_cast<int>(q.rows[i].size());
    d.tokens = q.tokens[i], d.query = q.rows[i];
    d.answer.resize(d.queries), d.label.resize(d.queries); // unknown, and read by nobody
    return d;
}

// Of the highest of n logits, ties to the lower index: itself and its share of the softmax.
std::pair<int, double> best_of(const float* z, int n) {
    const int best = static_cast<int>(std::max_element(z, z + n) - z);
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += std::exp(static_cast<double>(z[i]) - z[best]);
    return {best, 1 / sum};
}

std::string lines_of(const Questions& q, size_t i, const Trainer::Look& look, bool json) {
    const int rows = static_cast<int>(q.rows[i].size()), k = static_cast<int>(look.chosen.size()) / rows,
              places = q.length / look.place_length, classes = static_cast<int>(look.logits.size()) / rows;
    std::string lines;
    for (int r = 0; r < rows; ++r) {
        const auto [answer, probability] = best_of(look.logits.data() + int64_t{r} * classes, classes);
        std::vector<int> chosen;
        std::vector<float> scores;
        for (int n = 0; n < k; ++n) {
            const int place = look.chosen[r * k + n];
            chosen.push_back(place * look.place_length);
            if (!look.scores.empty()) scores.push_back(look.scores[int64_t{r} * places + place]);
        }
        if (json) {
            Json j = Json::object();
            j.add("sequence", static_cast<int64_t>(i + 1)).add("row", q.rows[i][r]).add("answer", answer);
            j.add("probability", Json::number("{:.6g}", probability));
            j.add("chosen", Json::number("[{}]", fmt::join(chosen, ",")));
            j.add("scores", Json::number("[{:.6g}]", fmt::join(scores, ",")));
            lines += j.text() + '\n';
        } else
            lines += fmt::format("{}\t{}\t{}\t{:.4f}\t{}\t{:.4f}\n", i + 1, q.rows[i][r], answer, probability,
                                 fmt::join(chosen, ","), fmt::join(scores, ","));
    }
    return lines;
}

} // namespace

Questions Questions::in_text(const std::string& text, const std::string& name, int length, int vocab) {
    Questions q{length, vocab, {}, {}};
    int number = 0;
    for (size_t begin = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view line(text.data() + begin, end - begin);
        begin = end + 1;
        const std::string where = fmt::format("{}:{}", name, ++number);
        std::vector<int32_t> tokens, rows;
        bool after_bar = false;
        size_t at = 0;
        for (std::string_view word; !(word = next_word(line, at)).empty();) {
            if (word == "|" && !std::exchange(after_bar, true)) continue;
            int32_t n = 0;
            const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), n);
            if (error != std::errc() || stop != word.data() + word.size())
                fail(Exit::bad_data, "{}: {} is not a token id: expected integers, and after a | the query rows", where,
                     printable(word.substr(0, 40)));
            (after_bar ? rows : tokens).push_back(n);
        }
        if (!tokens.empty() || after_bar) add(q, std::move(tokens), std::move(rows), where, where);
    }
    if (q.tokens.empty()) fail(Exit::bad_data, "{}: there is no sequence in it", name);
    return q;
}

Questions Questions::read(const std::string& path, int length, int vocab) {
    std::error_code error;
    const std::string query = path + "/query.npy";
    const bool folder = fs::is_directory(path, error);
    if (folder && is_zoology(path)) return in_dataset(load_zoology(path), path, length, vocab);
    if (folder) return in_arrays(path + "/tokens.npy", fs::exists(query, error) ? query : "", length, vocab);
    if (path.ends_with(".npy")) return in_arrays(path, "", length, vocab);
    if (path != "-") return in_text(read_file(path), path, length, vocab);
    const std::string text(std::istreambuf_iterator<char>(std::cin), {});
    return in_text(text, "standard input", length, vocab);
}

Exit route(const std::string& checkpoint, const std::string& data, const RunOptions& how) {
    const std::unique_ptr<Trainer> trainer = trainer_to_ask(checkpoint, how);
    const Options& o = trainer->options();
    const Questions q = Questions::read(data, o.task.length, o.task.vocab);
    Dataset all = o.model.has_backbone() ? tokens_of(q) : Dataset{};
    attach_features(all, o, trainer->workers());
    std::vector<std::string> lines(q.tokens.size());
    trainer->workers().run(static_cast<int>(q.tokens.size()), [&](int i, int worker) {
        const Trainer::Look look = trainer->look(dataset_of(q, i, all.features), 0, worker);
        if (!std::all_of(look.logits.begin(), look.logits.end(), [](float z) { return std::isfinite(z); }))
            fail(Exit::non_finite, "sequence {}: the model's output has a NaN or Inf", i + 1);
        lines[i] = lines_of(q, i, look, how.json);
    });
    if (!how.json) fmt::print("sequence\trow\tanswer\tprobability\tchosen\tscores\n");
    for (const std::string& line : lines) fmt::print("{}", line);
    return Exit::ok;
}

} // namespace fci
