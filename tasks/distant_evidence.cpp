#include "tasks/distant_evidence.h"

#include <algorithm>

#include "core/check.h"
#include "tasks/task.h"

namespace fci {

namespace {

double binomial(int n, int k) {
    double product = 1;
    for (int i = 1; i <= k; ++i) product = product * (n - k + i) / i;
    return k > n ? 0 : product;
}

// Uniform in [1,V) outside [first, first + n).
int draw_outside(Rng& rng, int vocab, int first, int n) {
    const int t = rng.between(1, vocab - n);
    return t < first ? t : t + n;
}

// The largest x in [low, high] with holds(x), where holds is first true, then false; low - 1 if none.
template <class F>
int last_true(int low, int high, F holds) {
    while (low <= high) {
        const int middle = low + (high - low) / 2;
        if (holds(middle))
            low = middle + 1;
        else
            high = middle - 1;
    }
    return high;
}

// The most disjoint pairs that start at positions [first, last].
int pairs_in(int first, int last) { return first <= last ? (last - first + 2) / 2 : 0; }

} // namespace

void DistantEvidence::Runs::add(int first, int last) {
    if (first <= last) run[count++] = {first, last};
}

DistantEvidence::Runs DistantEvidence::Runs::without_overlap(int pair) const {
    Runs left;
    for (int r = 0; r < count; ++r) {
        left.add(run[r].first, std::min(run[r].last, pair - 2));
        left.add(std::max(run[r].first, pair + 2), run[r].last);
    }
    return left;
}

int DistantEvidence::Runs::capacity() const {
    int pairs = 0;
    for (int r = 0; r < count; ++r) pairs += pairs_in(run[r].first, run[r].last);
    return pairs;
}

int DistantEvidence::Runs::capacity_beside(int pair) const {
    int pairs = 0;
    for (int r = 0; r < count; ++r)
        pairs += pairs_in(run[r].first, std::min(run[r].last, pair - 2)) +
                 pairs_in(std::max(run[r].first, pair + 2), run[r].last);
    return pairs;
}

DistantEvidence::DistantEvidence(const TaskOptions& options)
    : o_(options), near_(o_.variant == "near"), semantic_(o_.variant == "semantic"), before_(o_.answer_side != "after"),
      after_(o_.answer_side != "before") {
    for (int q = 1; q < o_.length; ++q) {
        if (!in_range(q) || !feasible(q)) continue;
        rows_.push_back(q);
        if (o_.query_at == "fixed") break;
    }
}

DistantEvidence::Runs DistantEvidence::window(int q, bool before, bool after) const {
    Runs runs;
    if (before) runs.add(std::max(0, q - o_.near_window), q - 1);
    if (after) runs.add(q + 1, std::min(o_.length - 2, q + o_.near_window - 1));
    return runs.without_overlap(q - 1);
}

DistantEvidence::Runs DistantEvidence::distant(int q, bool before, bool after) const {
    Runs runs;
    if (before) runs.add(0, q - o_.min_distance);
    if (after) runs.add(q + o_.min_distance, o_.length - 2);
    return runs.without_overlap(q - 1);
}

DistantEvidence::Runs DistantEvidence::answer_places(int q) const {
    return near_ ? window(q, before_, after_) : distant(q, before_, after_);
}
DistantEvidence::Runs DistantEvidence::distractor_places(int q) const {
    return near_ ? distant(q, true, true) : window(q, true, true);
}
bool DistantEvidence::fits(const Runs& distractors, int a) const {
    return distractors.capacity_beside(a) >= o_.n_distractors;
}

bool DistantEvidence::feasible(int q) const {
    const Runs answers = answer_places(q), distractors = distractor_places(q);
    if (distractors.capacity() < o_.n_distractors) return false;
    for (int r = 0; r < answers.count; ++r) // the ends first: an answer far from the distractors takes no room
        if (fits(distractors, answers.run[r].first) || fits(distractors, answers.run[r].last)) return true;
    for (int r = 0; r < answers.count; ++r)
        for (int a = answers.run[r].first; a <= answers.run[r].last; ++a)
            if (fits(distractors, a)) return true;
    return false;
}

bool DistantEvidence::in_range(int q) const {
    if (o_.query_at == "early") return q < o_.length / 8;
    return o_.query_at != "fixed" || q >= o_.length / 10;
}

std::vector<int> DistantEvidence::place_distractors(Rng& rng, const Runs& places) const {
    const int n = o_.n_distractors;
    const auto ways = [&](int r, int j) { return binomial(places.run[r].last - places.run[r].first + 2 - j, j); };
    // tail[r][m]: ways to put m pairs into runs r, r+1, ...
    std::vector<std::array<double, most_distractors + 1>> tail(places.count + 1);
    tail[places.count][0] = 1;
    for (int r = places.count; r-- > 0;)
        for (int m = 0; m <= n; ++m)
            for (int j = 0; j <= m; ++j) tail[r][m] += ways(r, j) * tail[r + 1][m - j];

    std::vector<int> at;
    for (int r = 0, left = n; r < places.count; ++r) {
        double u = rng.uniform64() * tail[r][left];
        int j = 0;
        for (int c = 0; c <= left; ++c) { // the last possible c takes the rest of u that rounding leaves
            const double mass = ways(r, c) * tail[r + 1][left - c];
            if (mass == 0) continue;
            j = c;
            if (u < mass) break;
            u -= mass;
        }
        // A uniform j-subset of [0, room) [Floyd, in Bentley 1987]; each pair moves those after it by one.
        const int room = places.run[r].last - places.run[r].first + 2 - j;
        std::vector<int> subset;
        for (int top = room - j; top < room; ++top) {
            const int t = static_cast<int>(rng.below(top + 1));
            subset.push_back(std::find(subset.begin(), subset.end(), t) == subset.end() ? t : top);
        }
        std::sort(subset.begin(), subset.end());
        for (int i = 0; i < j; ++i) at.push_back(places.run[r].first + subset[i] + i);
        left -= j;
    }
    return at;
}

std::vector<int> DistantEvidence::answers(int q) const {
    const Runs places = answer_places(q), room = distractor_places(q);
    std::vector<int> fitting;
    for (int r = 0; r < places.count; ++r)
        for (int a = places.run[r].first; a <= places.run[r].last; ++a)
            if (fits(room, a)) fitting.push_back(a);
    return fitting;
}

void DistantEvidence::example(Rng& rng, const Example& out) const {
    const int V = o_.vocab, q = rows_[rng.below(static_cast<uint32_t>(rows_.size()))];
    const Runs room = distractor_places(q);
    const std::vector<int> fitting = answers(q);
    const int a = fitting[rng.below(static_cast<uint32_t>(fitting.size()))];
    const std::vector<int> distractors = place_distractors(rng, room.without_overlap(a));

    const int k = rng.between(1, V), v = rng.between(1, V);
    const int avoid = semantic_ ? concept_of(k) * concept_size + 1 : k, avoided = semantic_ ? concept_size : 1;
    std::fill_n(out.tokens, o_.length, -1);
    out.tokens[q - 1] = 0;
    out.tokens[q] = k;
    out.tokens[a] = semantic_ ? avoid + (k - avoid + rng.between(1, concept_size)) % concept_size : k;
    out.tokens[a + 1] = v;
    for (const int p : distractors) {
        out.tokens[p] = o_.distractor_key == "same" ? k : draw_outside(rng, V, avoid, avoided);
        out.tokens[p + 1] = draw_outside(rng, V, v, 1);
    }
    for (int i = 0; i < o_.length; ++i)
        if (out.tokens[i] < 0)
            out.tokens[i] = o_.filler_repeats_key ? rng.between(1, V) : draw_outside(rng, V, avoid, avoided);

    *out.query = o_.query_row == "marker" ? q - 1 : q;
    *out.answer = a;
    *out.label = v;
    if (out.annotation) *out.annotation = {distractors, q - 1, q, {}};
}

bool DistantEvidence::possible(const TaskOptions& options) {
    TaskOptions small = options;
    small.length = 0; // no rows yet: this function looks for them, and one is enough
    DistantEvidence task(small);
    task.o_.length = options.length;
    for (int q = 1; q < options.length; ++q)
        if (task.in_range(q) && task.feasible(q)) return true;
    return false;
}

void DistantEvidence::require(const TaskOptions& o) {
    const int L = o.length, n = o.n_distractors, W = o.near_window, D = o.min_distance;
    const bool near = o.variant == "near";
    const int least_vocab = o.variant == "semantic" ? 2 * concept_size + 1 : 3;
    if (o.vocab < least_vocab)
        fail(Exit::usage, "--vocab {} is too small for --task der: at least {}", o.vocab, least_vocab);
    if (o.variant == "semantic" && (o.vocab - 1) % concept_size)
        fail(Exit::usage,
             "--vocab {}: the tokens besides token 0 do not divide into concepts of {} tokens; use {} or {}", o.vocab,
             concept_size, (o.vocab - 1) / concept_size * concept_size + 1,
             (o.vocab + 3) / concept_size * concept_size + 1);
    if (n > most_distractors) fail(Exit::usage, "--n-distractors {}: expected 0 to {}", n, most_distractors);
    if (o.query_at != "uniform" && o.answer_side == "before")
        fail(Exit::usage,
             "--query-at {}: the key comes early, and --answer-side before puts the answer before it: use "
             "--answer-side after, or --query-at uniform",
             o.query_at);
    if (possible(o)) return;

    const auto with = [&](int TaskOptions::*option, int value) {
        TaskOptions changed = o;
        changed.*option = value;
        return possible(changed);
    };
    // More room never hurts, so each of these conditions changes only once.
    const int high = (o.query_at == "uniform" ? 1 : 8) * (2 * (D + W + n) + 16); // early uses one row in eight
    const int shortest = 1 + last_true(1, high, [&](int x) { return !with(&TaskOptions::length, x); });
    const std::string longer = shortest <= high ? fmt::format("--length {} or more", shortest) : "";
    if (TaskOptions anywhere = o; o.query_at != "uniform") {
        anywhere.query_at = "uniform";
        if (possible(anywhere))
            fail(Exit::usage,
                 "--query-at {}: in --length {} no row {} {} has room for its distractors and an answer: "
                 "take {}, or --query-at uniform",
                 o.query_at, L, o.query_at == "early" ? "below" : "from", o.query_at == "early" ? L / 8 : L / 10,
                 longer);
    }
    const int most = last_true(0, n, [&](int x) { return with(&TaskOptions::n_distractors, x); });
    if (most >= 0) {
        const std::string where = near ? fmt::format("at --min-distance {} or more from the query", D)
                                       : fmt::format("within --near-window {} of the query", W);
        fail(Exit::usage, "--n-distractors {} do not fit {} in --length {}: at most {} do{}", n, where, L, most,
             longer.empty() ? ", or take a wider --near-window" : ", or take " + longer);
    }
    if (near) {
        const int narrowest = 1 + last_true(1, L, [&](int x) {
                                  TaskOptions changed = o;
                                  changed.near_window = x, changed.n_distractors = 0;
                                  return !possible(changed);
                              });
        if (narrowest <= L && narrowest > W)
            fail(Exit::usage, "--near-window {} has no room for the answer beside the query: at least {}", W,
                 narrowest);
        fail(Exit::usage, "--length {} is too short for a query and its answer{}", L,
             longer.empty() ? "" : ": take " + longer);
    }
    const int largest = last_true(1, D, [&](int x) { return with(&TaskOptions::min_distance, x); });
    fail(Exit::usage, "--length {} is too short for --min-distance {}: take {}{}", L, D, longer,
         largest < 1 ? "" : fmt::format(", or --min-distance {} or less", largest));
}

namespace {

std::optional<AnswerLaw> law(const TaskOptions& o) {
    const DistantEvidence task(o);
    AnswerLaw law{task.rows(), {}};
    for (const int q : law.rows) law.answers.push_back(task.answers(q));
    return law;
}

double accuracy(const TaskOptions& o) { return 100.0 / (1 + o.n_distractors); } // a random one of the values in pairs

std::optional<double> filler_like_the_key(const TaskOptions& o) {
    if (o.min_distance <= o.near_window + 1) return std::nullopt; // distractors may stand where the answer may
    if (!o.filler_repeats_key) return 0;
    return (o.variant == "semantic" ? concept_size - 1.0 : 1.0) / (o.vocab - 1);
}

bool may_be_the_answer(const TaskOptions& o, int key, int token) {
    if (o.variant != "semantic") return token == key;
    return token > 0 && token != key && concept_of(token) == concept_of(key);
}

} // namespace

namespace task_kinds {
extern const Task der{.name = "der",
                      .about = "der: distant evidence retrieval",
                      .own = {"variant", "distractor_key", "answer_side", "query_row", "query_at", "filler_repeats_key",
                              "n_distractors", "min_distance", "near_window"},
                      .length = 512,
                      .vocab = [](const TaskOptions&) { return 256; },
                      .require = DistantEvidence::require,
                      .generate =
                          [](const TaskOptions& o, int count, uint64_t seed, Stream stream, Workers& workers,
                             std::vector<Annotation>* annotations) {
                              return generate_examples(DistantEvidence(o), o, 1, count, seed, stream, workers,
                                                       annotations);
                          },
                      .simplify =
                          [](TaskOptions& o) { // near_window still changes the random numbers
                              if (o.n_distractors == 0) o.distractor_key = TaskOptions().distractor_key;
                          },
                      .law = law,
                      .law_accuracy = accuracy,
                      .accuracy = [](const TaskOptions& o, const Dataset&) { return accuracy(o); },
                      .filler_like_the_key = filler_like_the_key,
                      .may_be_the_answer = may_be_the_answer,
                      .paper_chance = [](const TaskOptions&, int) { return 1.6; },
                      .title = [](const TaskOptions& o) { return o.variant; }};
} // namespace task_kinds

} // namespace fci
