// What is minimised, the same on every device: batches as the model takes them, and the losses of one.
//   loss = mean over queries of CE(logits, label) + w mean over queries of CE(scores, answer)
// With the closed loop the second is the mean over its rounds.
#pragma once
#include "model/fci.h"

namespace fci {

struct Batch {                             // a few sequences, gathered
    IntTensor tokens, query, place, label; // place: the answer's
};

struct Losses { // one number a query
    static constexpr int most_rounds = 3;
    Tensor answer;
    std::array<Tensor, most_rounds> routing;
    int rounds = 0; // of routing; 0 without a router
};

// Appends them to the tape, for its backward. weight: of a query, 1 / queries of the whole batch; w: of routing, times
// *factor if there is one (see cross_entropy).
Losses losses(Tape&, const Model::Output&, const Batch&, float weight, float w, const float* factor = nullptr);

// InfoNCE of contrastive pretraining: the cross-entropy of the cosines.
Tensor contrastive_loss(Tape&, const Model&, const Batch&, float weight);

} // namespace fci
