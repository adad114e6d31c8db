// Zoology's arrays of MQAR (tasks/npy.h).
#include <algorithm>
#include <filesystem>

#include "core/check.h"
#include "tasks/npy.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

constexpr int nothing_asked = -100; // cross-entropy's ignore_index in PyTorch

struct Paths {
    std::string inputs, labels;
};

Paths paths_of(const std::string& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) return {path + "/inputs.npy", path + "/labels.npy"};
    const fs::path file(path);
    std::string name = file.filename().string();
    const size_t at = name.rfind("inputs");
    if (at != std::string::npos) name.replace(at, 6, "labels");
    return {path, (file.parent_path() / name).string()};
}

struct Query {
    int sequence, row, answer, label;
};

} // namespace

bool is_zoology(const std::string& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) return fs::exists(path + "/inputs.npy", error);
    return path.ends_with(".npy") && fs::path(path).filename().string().find("inputs") != std::string::npos;
}

Dataset load_zoology(const std::string& path) {
    const Paths paths = paths_of(path);
    std::error_code error;
    if (fs::is_directory(path, error) && fs::exists(path + "/tokens.npy", error))
        fail(Exit::bad_data,
             "{}: has both tokens.npy (fci's format) and inputs.npy (Zoology's): keep only one of them there", path);
    const NpyArray inputs = load_npy(paths.inputs, false), labels = load_npy(paths.labels, false);
    if (inputs.rows != labels.rows || inputs.columns != labels.columns)
        fail(Exit::bad_data, "{}: shape ({},{}), but {} has ({},{})", paths.labels, labels.rows, labels.columns,
             paths.inputs, inputs.rows, inputs.columns);
    const int length = inputs.columns;
    int32_t largest = 0;
    const auto expect = [&](const std::string& file, int row, int column, int32_t x) {
        if (x < 0 || x >= vocab_of(x)) // beyond the largest vocabulary
            fail(Exit::bad_data, "{}: row {}, column {}: {} is not a token", file, row, column, x);
        largest = std::max(largest, x);
    };
    std::vector<Query> queries;
    std::vector<int> count(inputs.rows);
    for (int i = 0; i < inputs.rows; ++i) {
        const int32_t *x = &inputs.x[int64_t{i} * length], *y = &labels.x[int64_t{i} * length];
        for (int t = 0; t < length; ++t) {
            expect(paths.inputs, i, t, x[t]);
            if (y[t] == nothing_asked) continue;
            expect(paths.labels, i, t, y[t]);
            int a = 0;
            while (a < t && !(x[a] == x[t] && x[a + 1] == y[t])) ++a;
            if (a == t)
                fail(Exit::bad_data,
                     "{}: row {}, column {}: the answer {} never follows the token {} before this column, so there is "
                     "no right position; a column without a question must have -100",
                     paths.labels, i, t, y[t], x[t]);
            queries.push_back({i, t, a, y[t]}), ++count[i];
        }
    }
    if (queries.empty()) fail(Exit::bad_data, "{}: every label is -100: nothing is asked", paths.labels);
    const bool even = std::all_of(count.begin(), count.end(), [&](int n) { return n == count[0]; });
    Dataset d;
    d.queries = even ? count[0] : 1;
    d.count = static_cast<int>(queries.size()) / d.queries, d.length = length, d.vocab = vocab_of(largest);
    for (size_t n = 0; n < queries.size(); ++n) {
        const Query& q = queries[n];
        const auto begin = inputs.x.begin() + int64_t{q.sequence} * length;
        if (n % d.queries == 0) d.tokens.insert(d.tokens.end(), begin, begin + length);
        d.query.push_back(q.row), d.answer.push_back(q.answer), d.label.push_back(q.label);
    }
    return d;
}

} // namespace fci
