#include "tasks/mqar.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/check.h"
#include "tasks/task.h"

namespace fci {

namespace {

// ln i = e ln 2 + 2 atanh((m-1)/(m+1)) for i = 2^e m, 1 <= m < 2. 24 terms of (1/3)^(2t+1) reach 1e-24.
double natural_log(int i) {
    constexpr double ln2 = 0.693147180559945309417;
    const int e = std::bit_width(static_cast<unsigned>(i)) - 1;
    const double m = static_cast<double>(i) / static_cast<double>(int64_t{1} << e), z = (m - 1) / (m + 1);
    double sum = 0, power = z;
    for (int t = 0; t < 24; ++t, power = power * z * z) sum = sum + power / (2 * t + 1);
    return e * ln2 + 2 * sum;
}

// exp x for |x| < 1, 20 terms.
double exponential(double x) {
    double sum = 1, term = 1;
    for (int t = 1; t < 20; ++t) {
        term = term * x / t;
        sum = sum + term;
    }
    return sum;
}

uint64_t below64(Rng& rng, uint64_t n) { // uniform in [0, n): draws as many bits as n has until they are below n
    const int shift = std::countl_zero(n);
    for (;;)
        if (const uint64_t x = rng.bits64() >> shift; x < n) return x;
}

// n distinct numbers of [low, high) in uniform random order: the first n steps of a shuffle.
std::vector<int32_t> distinct(Rng& rng, int low, int high, int n) {
    std::vector<int32_t> all(high - low);
    std::iota(all.begin(), all.end(), low);
    for (int i = 0; i < n; ++i) std::swap(all[i], all[rng.between(i, high - low)]);
    all.resize(n);
    return all;
}

} // namespace

std::vector<uint64_t> slot_weights(int slots) {
    constexpr double a = 0.01;
    std::vector<uint64_t> w(slots);
    for (int i = 1; i <= slots; ++i)
        w[i - 1] = static_cast<uint64_t>(0x1p40 * (exponential(a * natural_log(i)) / i) + 0.5);
    return w;
}

std::vector<int> draw_slots(Rng& rng, const std::vector<uint64_t>& weights, int n) {
    // tree[i] = sum of the remaining weights in (i - lowbit(i), i], counted from 1 [Fenwick 1994].
    const size_t slots = weights.size();
    std::vector<uint64_t> tree(slots + 1);
    uint64_t total = 0;
    for (size_t i = 1; i <= slots; ++i) {
        tree[i] += weights[i - 1];
        total += weights[i - 1];
        if (const size_t up = i + (i & -i); up <= slots) tree[up] += tree[i];
    }
    std::vector<int> drawn;
    for (int d = 0; d < n; ++d) {
        uint64_t u = below64(rng, total);
        size_t slot = 0; // the most leading slots whose weights together do not exceed u
        for (size_t step = std::bit_floor(slots); step; step /= 2)
            if (slot + step <= slots && tree[slot + step] <= u) u -= tree[slot += step];
        drawn.push_back(static_cast<int>(slot));
        total -= weights[slot];
        for (size_t i = slot + 1; i <= slots; i += i & -i) tree[i] -= weights[slot];
    }
    return drawn;
}

Mqar::Mqar(const TaskOptions& options) : o_(options), many_(o_.queries == "many") {
    if (many_) weights_ = slot_weights((o_.length - 2 * o_.pairs) / 2);
}

void Mqar::require(const TaskOptions& o) {
    const bool many = o.queries == "many";
    if (o.vocab < 4) fail(Exit::usage, "--vocab {} is too small for --task mqar: at least 4", o.vocab);
    if (o.pairs > o.vocab / 2 - 1)
        fail(Exit::usage, "--pairs {} need as many distinct keys, and --vocab {} has {}: take --vocab {} or more",
             o.pairs, o.vocab, o.vocab / 2 - 1, 2 * int64_t{o.pairs} + 2);
    const bool marker = o.query_row == "marker";
    if (many && marker)
        fail(Exit::usage, "--query-row marker: with --queries many the row before a query may hold another query; take "
                          "--query-row key, or --queries one");
    const int64_t least = many ? 4 * int64_t{o.pairs} : 2 * int64_t{o.pairs} + 1 + marker;
    if (o.length >= least) return;
    const int most = many ? o.length / 4 : (o.length - 1 - marker) / 2;
    fail(Exit::usage, "--length {} is too short for --pairs {} and {}: take --length {} or more{}", o.length, o.pairs,
         many     ? "a place for each one's query"
         : marker ? "a row before the query that asks (--query-row marker)"
                  : "the query",
         least, most < 1 ? "" : fmt::format(", or --pairs {} or less", most));
}

void Mqar::example(Rng& rng, const Example& out) const {
    const int N = o_.pairs, V = o_.vocab, half = V / 2;
    const std::vector<int32_t> keys = distinct(rng, 1, half, N);
    std::vector<int32_t> values;
    if (many_)
        values = distinct(rng, half, V, N);
    else
        for (int j = 0; j < N; ++j) values.push_back(rng.between(half, V));

    std::fill_n(out.tokens, o_.length, 0);
    for (int j = 0; j < N; ++j) {
        out.tokens[2 * j] = keys[j];
        out.tokens[2 * j + 1] = values[j];
    }
    const auto ask = [&](int column, int pair, int row) {
        out.tokens[row] = keys[pair];
        out.query[column] = row;
        out.answer[column] = 2 * pair;
        out.label[column] = values[pair];
    };
    if (many_) {
        const std::vector<int> slots = draw_slots(rng, weights_, N);
        for (int j = 0; j < N; ++j) ask(j, j, 2 * N + 2 * slots[j]);
        if (o_.random_non_queries) { // keys and values are never 0, so each 0 is a non-query
            for (int i = 2 * N; i < o_.length; ++i)
                if (out.tokens[i] == 0) out.tokens[i] = rng.between(0, V);
        }
    } else {
        ask(0, static_cast<int>(rng.below(N)), o_.length - 1);
        if (o_.query_row == "marker") --out.query[0];
    }
    if (out.annotation) {
        *out.annotation = {};
        if (!many_) out.annotation->key = o_.length - 1;
        for (int j = 0; j < N; ++j) out.annotation->pairs.push_back(2 * j);
    }
}

namespace {

// The pairs come first (key, value, key, value, ...), and the last row asks. With many queries the rows give
// information about their key that has no short formula.
std::optional<AnswerLaw> law(const TaskOptions& o) {
    if (o.queries != "one") return std::nullopt;
    AnswerLaw law{{o.length - 1}, {{}}};
    for (int pair = 0; pair < o.pairs; ++pair) law.answers[0].push_back(2 * pair);
    return law;
}

// One of the N pairs' values at random; each of the others equals the label with probability 1/(V-H).
double law_accuracy(const TaskOptions& o) { return 100.0 * (1 + (o.pairs - 1.0) / (o.vocab - o.vocab / 2)) / o.pairs; }

double accuracy(const TaskOptions& o, const Dataset& test) { // the label's share of the context's values
    double share = 0;
    for (size_t i = 0; i < test.label.size(); ++i) {
        const int32_t* pairs = test.tokens.data() + static_cast<int64_t>(i / test.queries) * test.length;
        for (int p = 0; p < o.pairs; ++p) share += pairs[2 * p + 1] == test.label[i];
    }
    return 100.0 * share / o.pairs / static_cast<double>(test.label.size());
}

} // namespace

namespace task_kinds {
extern const Task mqar{
    .name = "mqar",
    .about = "mqar",
    .own = {"query_row", "queries", "pairs", "random_non_queries"},
    .length = 256,
    .vocab = [](const TaskOptions& o) { return o.queries == "many" ? 8192 : 256; },
    .require = Mqar::require,
    .generate =
        [](const TaskOptions& o, int count, uint64_t seed, Stream stream, Workers& workers,
           std::vector<Annotation>* annotations) {
            const Mqar task(o);
            return generate_examples(task, o, task.queries(), count, seed, stream, workers, annotations);
        },
    .idle =
        [](const TaskOptions& o) {
            std::vector<std::pair<std::string, std::string>> idle;
            if (o.queries != "many") idle.emplace_back("random_non_queries", "--queries many");
            return idle;
        },
    .law = law,
    .law_accuracy = law_accuracy,
    .accuracy = accuracy,
    .filler_like_the_key = [](const TaskOptions&) { return std::optional(0.0); },
    .paper_chance = [](const TaskOptions& o, int picks) { return 100.0 * std::min(picks, o.pairs) / o.pairs; },
    .title = [](const TaskOptions& o) -> std::string { return o.queries == "one" ? "one query" : "many queries"; }};
} // namespace task_kinds

} // namespace fci
