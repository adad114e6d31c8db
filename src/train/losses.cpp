#include "train/losses.h"

#include "ops/cross_entropy.h"
#include "ops/set_cross_entropy.h"

namespace fci {
namespace {

Tensor routing_loss(Tape& tape, Tensor scores, const Batch& b, float weight, const float* factor) {
    return b.bounds.data ? set_cross_entropy(tape, scores, b.bounds, b.place, weight, factor)
                         : cross_entropy(tape, scores, b.place, weight, factor);
}

} // namespace

void Counts::add(const Counts& o) {
    queries += o.queries, at_k += o.at_k, at_1 += o.at_1, right += o.right, all += o.all;
    answer_loss += o.answer_loss, routing_loss += o.routing_loss;
}

Losses losses(Tape& tape, const Model::Output& out, const Batch& b, float weight, float w, const float* factor) {
    Losses l;
    if (b.label.data) l.answer = cross_entropy(tape, out.logits, b.label, weight);
    if (!out.scores) return l;
    l.rounds = out.earlier[0] ? static_cast<int>(out.earlier.size()) + 1 : 1;
    for (int r = 0; r < l.rounds; ++r)
        l.routing[r] = routing_loss(tape, r + 1 < l.rounds ? out.earlier[r] : out.scores, b,
                                    w * weight / static_cast<float>(l.rounds), factor);
    return l;
}

Tensor contrastive_loss(Tape& tape, const Model& model, const Batch& b, float weight) {
    return routing_loss(tape, model.contrastive_scores(tape, b.tokens, b.query), b, weight, nullptr);
}

} // namespace fci
