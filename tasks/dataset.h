// Dataset: what every task makes and the trainer eats. A sequence has `queries` query rows; each has one
// right position (the router's target) and one right token (the answer); or, as hotpotqa, several right positions
// and no token.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "core/workers.h"

namespace fci {

// Every option of the tasks; the names are the command line's flags and the keys of a row, with '-'.
struct TaskOptions {
    std::string task = "mqar"; // der | mqar | hotpotqa
    int length = 0;            // L; 0: the task's own (der 512, mqar 256, hotpotqa 1024)
    // der
    std::string variant = "far";         // far | near | semantic
    std::string distractor_key = "same"; // same | other
    std::string answer_side = "after";   // after | either | before
    std::string query_row = "key";       // key | marker; of mqar too: the row before the query's key
    std::string query_at = "uniform";    // uniform | early | fixed: the law of the key's row
    bool filler_repeats_key = false;
    int n_distractors = 4;
    int min_distance = 200; // of the answer (near: of the distractors) from the query
    int near_window = 24;   // of the distractors (near: of the answer) around the query
    // mqar
    std::string queries = "one"; // one: the paper; many: Zoology's
    int pairs = 16;
    int vocab = 0; // 0: the task's own (256; mqar with many queries, and hotpotqa 8192)
    bool random_non_queries = false;
};

// Lists of positions, one a query, each ascending; list i is at[begin[i]] to at[begin[i+1]-1].
struct PositionLists {
    std::vector<int32_t> begin, at;

    bool empty() const { return begin.empty(); }
    std::span<const int32_t> operator[](size_t i) const {
        return {at.data() + begin[i], static_cast<size_t>(begin[i + 1] - begin[i])};
    }
};

struct Dataset {
    int count = 0, length = 0, queries = 1, vocab = 256;
    std::vector<int32_t> tokens; // (count, length)
    std::vector<int32_t> query;  // (count, queries): the query row
    std::vector<int32_t> answer; // (count, queries): the position that the router must choose
    std::vector<int32_t> label;  // (count, queries): the token to answer with; empty: there is none

    // Of hotpotqa, else empty: every right position (`answer` is the first), and where sentences start.
    PositionLists right = {}, starts = {};
    int64_t left_out = 0, right_cut = 0; // examples, and right positions of the others, that the cut took away

    std::span<const int32_t> right_of(size_t query) const {
        return right.empty() ? std::span(&answer[query], 1) : right[query];
    }
};

// What stands where in one example, for pictures and tests.
struct Annotation {
    std::vector<int> distractors; // position of each distractor key; its value is at +1
    int marker = -1;              // position of the QUERY marker, -1 if none
    int key = -1;                 // position of the key that is asked for, by itself or by the row before it
    std::vector<int> pairs;       // position of each key of a context of pairs
};

// Where a task writes one example: a row of each of the dataset's arrays.
struct Example {
    int32_t *tokens, *query, *answer, *label;
    Annotation* annotation = nullptr;
};

// Calls f(name, value) for each option, in the order above. The one list of names: flags, rows and
// dataset.json are made from it.
template <class Options, class F>
void each_task_option(Options& o, F f) {
    f("task", o.task), f("length", o.length);
    f("variant", o.variant), f("distractor-key", o.distractor_key), f("answer-side", o.answer_side);
    f("query-row", o.query_row), f("query-at", o.query_at), f("filler-repeats-key", o.filler_repeats_key);
    f("n-distractors", o.n_distractors), f("min-distance", o.min_distance), f("near-window", o.near_window);
    f("queries", o.queries), f("pairs", o.pairs), f("vocab", o.vocab);
    f("random-non-queries", o.random_non_queries);
}

// The options that do nothing for this task, each with the flag that it belongs to: pairs of der, --task mqar.
std::vector<std::pair<std::string, std::string>> idle_options(const TaskOptions& options);

// Fills in what is 0 (length, vocab); throws Exit::usage where the options cannot be satisfied, saying
// which number is too large or small and what would fit. An option of the other task is refused unless it
// has its default value, since it would do nothing. resolve(resolve(o)) = resolve(o).
TaskOptions resolve(TaskOptions options);

// The same dataset for the same options, seed and stream on every machine and for every number of workers:
// example i is a function of (options, seed, stream, i) (hotpotqa: see hotpot_text.h). `annotations`, if given, gets
// one entry an example.
Dataset generate(const TaskOptions& options, int count, uint64_t seed, Stream stream, Workers& workers,
                 std::vector<Annotation>* annotations = nullptr);

} // namespace fci
