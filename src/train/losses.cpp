#include "train/losses.h"

#include "ops/cross_entropy.h"

namespace fci {

Losses losses(Tape& tape, const Model::Output& out, const Batch& b, float weight, float w, const float* factor) {
    Losses l;
    l.answer = cross_entropy(tape, out.logits, b.label, weight);
    if (!out.scores) return l;
    l.rounds = out.earlier[0] ? static_cast<int>(out.earlier.size()) + 1 : 1;
    for (int r = 0; r < l.rounds; ++r)
        l.routing[r] = cross_entropy(tape, r + 1 < l.rounds ? out.earlier[r] : out.scores, b.place,
                                     w * weight / static_cast<float>(l.rounds), factor);
    return l;
}

Tensor contrastive_loss(Tape& tape, const Model& model, const Batch& b, float weight) {
    return cross_entropy(tape, model.contrastive_scores(tape, b.tokens, b.query), b.place, weight);
}

} // namespace fci
