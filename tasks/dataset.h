// Dataset: what every task makes and the trainer eats. A sequence has `queries` query rows; each has one
// correct position (the router's target) and one correct token (the answer); or, as hotpotqa, several correct positions
// and no token.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/option.h"
#include "core/rng.h"
#include "core/workers.h"

namespace fci {

// Every option of the tasks; what they mean, and which task has which: option_table and tasks/task.h.
struct TaskOptions {
    std::string task = "mqar";
    int length = 0; // L; 0: the task's own
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
    int vocab = 0; // 0: the task's own
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

// What a frozen model makes of each sequence, in place of embeddings of its tokens (src/pretrained/features.h).
struct SequenceFeatures {
    int width = 0;
    virtual ~SequenceFeatures() = default;
    // Of n sequences of the dataset: (n, length, width). By any number of threads at once.
    virtual void read(const int* sequences, int n, float* out) const = 0;
};

struct Dataset {
    int count = 0, length = 0, queries = 1, vocab = 256;
    std::vector<int32_t> tokens; // (count, length)
    std::vector<int32_t> query;  // (count, queries): the query row
    std::vector<int32_t> answer; // (count, queries): the position that the router must choose
    std::vector<int32_t> label;  // (count, queries): the token to answer with; empty: there is none

    // Of hotpotqa, else empty: every correct position (`answer` is the first), and where sentences start.
    PositionLists correct = {}, starts = {};
    int64_t left_out = 0, correct_cut = 0; // examples, and correct positions of the others, that the cut took away

    std::shared_ptr<const SequenceFeatures> features = {}; // null: the model embeds the tokens

    std::span<const int32_t> right_of(size_t query) const {
        return correct.empty() ? std::span(&answer[query], 1) : correct[query];
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

// The table of the options above; flags, rows, records and dataset.json are made from it.
std::vector<Option> option_table(TaskOptions&);

// The options that do nothing for this task, each with the flag that it belongs to: pairs of der, --task mqar.
// canonical: they and what else makes no difference have their defaults; a length and vocabulary that the task takes by
// itself are 0.
std::vector<std::pair<std::string, std::string>> idle_options(const TaskOptions& options);
TaskOptions canonical(TaskOptions options);

// Fills in what is 0 (length, vocab); throws Exit::usage where the options cannot be satisfied, saying
// which number is too large or small and what would fit. An option of another task is refused unless it
// has its default value, since it would do nothing. resolve(resolve(o)) = resolve(o).
TaskOptions resolve(TaskOptions options);

// The same dataset for the same options, seed and stream on every machine and for every number of workers:
// example i is a function of (options, seed, stream, i) (hotpotqa: see hotpot_text.h). `annotations`, if given, gets
// one entry an example.
Dataset generate(const TaskOptions& options, int count, uint64_t seed, Stream stream, Workers& workers,
                 std::vector<Annotation>* annotations = nullptr);

} // namespace fci
