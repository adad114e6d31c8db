// The objective, the same on every device: batches as the model takes them, and the losses of a batch.
//   loss = mean over queries of CE(logits, label) + w mean over queries of CE(scores, answer)
// With the closed loop the second is the mean over its rounds. Where several positions are correct and there is no
// label (hotpotqa), w = 1 and
//   loss = mean over queries of -log of the sum over the correct ones of softmax(scores)     ops/set_cross_entropy.h
#pragma once
#include <span>

#include "model/fci.h"
#include "train/options.h"

namespace fci {

struct Batch { // a few sequences, gathered
    IntTensor tokens, query, label;
    IntTensor place; // of the answer; or, where several are correct, those of query i at bounds[i] to bounds[i+1]
    IntTensor bounds;
    Tensor features = {}; // (b,t,w) of a backbone

    std::span<const int32_t> correct(int64_t query) const { // the places; on the CPU
        if (!bounds.data) return {place.data + query, 1};
        return {place.data + bounds.data[query], place.data + bounds.data[query + 1]};
    }
};

// Sequences first to first + n - 1, or order[first] and so on; a router's place is place_length positions. What it
// takes from the arena does not depend on the choice.
Batch gather_batch(Arena&, const Dataset&, int place_length, int first, int n, const int* order = nullptr);
// The same without features, which take longer than all the rest.
Batch gather_targets(Arena&, const Dataset&, int place_length, int first, int n, const int* order = nullptr);

// Sums over queries.
struct Counts {
    int64_t queries = 0, at_k = 0, at_1 = 0, correct = 0;
    int64_t all =
        0; // where several positions are correct, at_k and at_1 count any of them, this all of them among the k
    double answer_loss = 0, routing_loss = 0;
    // Of a closer look, else 0. neighbours: the correct position is among the k or their right neighbours. Where scores
    // are known, of `compared` queries: strict, it is among the k in whatever order equal scores are taken; tied,
    // whether it is hangs on that order.
    int64_t neighbours = 0, strict = 0, tied = 0, compared = 0;
    void add(const Counts& o);
    double percent(int64_t n) const {
        return queries ? 100.0 * static_cast<double>(n) / static_cast<double>(queries) : 0;
    }
};

// Is a correct place among the k chosen (neighbours not counted), is the first one correct, are all correct ones among
// them; is the highest logit the label? closely: the closer look too.
Counts count(const Model::Output&, const Batch&, int k, bool closely = false); // on the CPU

struct Losses { // one number a query
    static constexpr int most_rounds = std::tuple_size_v<decltype(Model::Output::earlier)> + 1;
    Tensor answer; // empty without a label
    std::array<Tensor, most_rounds> routing;
    int rounds = 0; // of routing; 0 without a router
};

// Of a query in the mean over a batch.
inline float query_weight(int batch, int queries) {
    return 1.f / (static_cast<float>(batch) * static_cast<float>(queries));
}

// Appends them to the tape, for its backward. weight: of a query in the whole batch; w: of routing, times
// *factor if there is one (see cross_entropy).
Losses losses(Tape&, const Model::Output&, const Batch&, float weight, float w, const float* factor = nullptr);

// InfoNCE of contrastive pretraining: the cross-entropy of the cosines.
Tensor contrastive_loss(Tape&, const Model&, const Batch&, float weight);

// The ops that a training step of this many sequences calls; nothing is computed or allocated.
std::vector<Tape::Call> calls_of_step(const Options& resolved, int sequences);
// GFLOP of one sequence in it, both ways: products, convolutions and recurrences, for rates and estimates.
double sequence_gflop(const Options& resolved);

} // namespace fci
