// Dataset: what every task generates and the trainer reads. A sequence has `queries` query rows. Each has one correct
// position (the router's target) and one correct token (the answer); in hotpotqa, several correct positions and no
// token.
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

// All options of the tasks. option_table and tasks/task.h say what they mean and which task has which.
struct TaskOptions {
    std::string task = "mqar";
    int length = 0; // L; 0: the task's default
    // der
    std::string variant = "far";         // far | near | semantic
    std::string distractor_key = "same"; // same | other
    std::string answer_side = "after";   // after | either | before
    std::string query_row = "key";       // key | marker; of mqar too: the row before the query's key
    std::string query_at = "uniform";    // uniform | early | fixed: how the key's row is drawn
    bool filler_repeats_key = false;
    int n_distractors = 4;
    int min_distance = 200; // of the answer (near: of the distractors) from the query
    int near_window = 24;   // of the distractors (near: of the answer) around the query
    // mqar
    std::string queries = "one"; // one: the paper; many: Zoology's
    int pairs = 16;
    int vocab = 0; // 0: the task's default
    bool random_non_queries = false;
};

// Lists of positions, one per query, each ascending; list i is at[begin[i]] to at[begin[i+1]-1].
struct PositionLists {
    std::vector<int32_t> begin, at;

    bool empty() const { return begin.empty(); }
    std::span<const int32_t> operator[](size_t i) const {
        return {at.data() + begin[i], static_cast<size_t>(begin[i + 1] - begin[i])};
    }
};

// The outputs of a frozen model for each sequence, used instead of token embeddings (src/pretrained/features.h).
struct SequenceFeatures {
    int width = 0;
    virtual ~SequenceFeatures() = default;
    // Features of n sequences of the dataset: (n, length, width). Any number of threads may call this at once.
    virtual void read(const int* sequences, int n, float* out) const = 0;
};

struct Dataset {
    int count = 0, length = 0, queries = 1, vocab = 256;
    std::vector<int32_t> tokens; // (count, length)
    std::vector<int32_t> query;  // (count, queries): the query row
    std::vector<int32_t> answer; // (count, queries): the position that the router must choose
    std::vector<int32_t> label;  // (count, queries): the token to answer with; empty if the task has none

    // Only hotpotqa; else empty: every correct position (`answer` is the first), and where sentences start.
    PositionLists correct = {}, starts = {};
    int64_t left_out = 0, correct_cut = 0; // examples, and correct positions of the others, lost to the cut

    std::shared_ptr<const SequenceFeatures> features = {}; // null: the model embeds the tokens

    std::span<const int32_t> right_of(size_t query) const {
        return correct.empty() ? std::span(&answer[query], 1) : correct[query];
    }
};

// What the positions of one example hold, for pictures and tests.
struct Annotation {
    std::vector<int> distractors; // position of each distractor key; its value is at +1
    int marker = -1;              // position of the QUERY marker, -1 if none
    int key = -1;                 // position of the query's key, asked for by this row or by the row before it
    std::vector<int> pairs;       // position of each key of a context of pairs
};

// Where a task writes one example: one row of each of the dataset's arrays.
struct Example {
    int32_t *tokens, *query, *answer, *label;
    Annotation* annotation = nullptr;
};

// The table of the options above; flags, rows, records and dataset.json are generated from it.
std::vector<Option> option_table(TaskOptions&);

// The options that have no effect for this task, each with the flag it belongs to: pairs of der, --task mqar.
// canonical: sets these options, and others that make no difference, to their defaults; a length or vocabulary that
// equals the task's default becomes 0.
std::vector<std::pair<std::string, std::string>> idle_options(const TaskOptions& options);
TaskOptions canonical(TaskOptions options);

// Fills in what is 0 (length, vocab). Throws Exit::usage if the options cannot be satisfied, naming the number that is
// too large or small and what would fit. An option of another task must have its default value, since it would have no
// effect. resolve(resolve(o)) = resolve(o).
TaskOptions resolve(TaskOptions options);

// The same options, seed and stream give the same dataset on every machine and for any number of workers: example i is
// a function of (options, seed, stream, i) (hotpotqa: see hotpot_text.h). `annotations`, if given, gets one entry per
// example.
Dataset generate(const TaskOptions& options, int count, uint64_t seed, Stream stream, Workers& workers,
                 std::vector<Annotation>* annotations = nullptr);

} // namespace fci
