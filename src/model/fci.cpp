#include "model/fci.h"

#include "model/tail.h"
#include "ops/anchors.h"
#include "ops/dot_scores.h"
#include "ops/embedding.h"
#include "ops/rms_norm.h"
#include "tasks/distant_evidence.h"

namespace fci {

Representation::Representation(ParameterBinder& p, const ModelOptions& o, int vocab, int length) {
    if (!o.has_backbone())
        token = p.add("token.weight", {vocab, o.d_model},
                      {o.embeddings == "structured" ? Init::concepts : Init::normal, 0.02f, concept_size});
    else if (o.backbone_width != "native")
        of_features.emplace(p, "backbone.map", o.feature_width, o.d_model);
    if (has_positions(o)) position = p.add("position.weight", {length, o.d_model}, {Init::normal, 0.02f});
    if (o.embeddings == "anchors") // one for each concept
        anchor = p.add("anchor.weight", {(vocab + concept_size - 2) / concept_size, o.d_model}, {Init::normal, 0.02f});
    const Mixing mixing(o.representation);
    const BlockShape shape{o.d_model, o.heads, length, mixing.number, o.mean_residual, o.seed};
    for (int i = 0; i < mixing.blocks(); ++i)
        blocks.push_back(mixing.kind->build(p, "block." + std::to_string(i), shape));
}

Tensor Representation::embed(Tape& tape, IntTensor tokens, Tensor features) const {
    if (features) return of_features ? (*of_features)(tape, features) : tape.with_gradient(features);
    // What anchors add depends on the token alone, so it is added to the table.
    return embedding(tape, tokens, anchor ? anchors(tape, token, anchor) : token, position);
}

Mixed Representation::operator()(Tape& tape, IntTensor tokens, Tensor features) const {
    Mixed out = embed(tape, tokens, features);
    for (const Block& block : blocks) out = block.mix(tape, out.x);
    return out;
}

Model::Model(ParameterBinder& p, const ModelOptions& o, int vocab, int length)
    : top_k_(o.top_k), place_length_(router_kind(o.router).place_length(length)), representation_(p, o, vocab, length),
      router_(router_kind(o.router).build ? router_kind(o.router).build(p, "router", o.d_model, o.heads) : Router{}),
      feedback_(router_kind(o.router).asks_again
                    ? std::optional<Linear>(std::in_place, p, "router.feedback", o.d_model, o.d_model, false)
                    : std::nullopt),
      council_(router_.route ? std::optional<Council>(std::in_place, p, "council", o.d_model, o.heads) : std::nullopt),
      head_norm_(p, "head.norm", o.d_model), head_(p, "head.linear", o.d_model, vocab),
      router_norm_(o.router_norm && router_.route ? std::optional<LayerNorm>(std::in_place, p, "router.norm", o.d_model)
                                                  : std::nullopt) {
    check(router_kind(o.router).type == RouterKind::in_model, "the router {} is no part of a model", o.router);
}

namespace {

// part: &Tensor::data or &Tensor::grad
template <class T>
TailWeights<T> tail_weights(const Router& router, const Council& council, const LayerNorm& head_norm,
                            const Linear& head, float* Tensor::*part) {
    using Weights = TailWeights<T>;
    const auto norm = [=](const LayerNorm& n) { return typename Weights::Norm{n.weight.*part, n.bias.*part}; };
    const auto linear = [=](const Linear& l) { return typename Weights::Linear{l.weight.*part, l.bias.*part}; };
    return {router.wq.*part,        router.wk.*part,          norm(council.norm1), norm(council.norm2),
            norm(head_norm),        linear(council.q),        linear(council.kv),  linear(council.out),
            linear(council.ffn.up), linear(council.ffn.down), linear(head)};
}

} // namespace

Model::Output Model::operator()(Tape& tape, IntTensor tokens, IntTensor query, Tensor features) const {
    Output out;
    out.mixed = representation_(tape, tokens, features);
    const Tensor x = out.mixed.x, seen = for_router(tape, x);
    if (tape.device() == Device::cuda && council_ && router_.wq && !feedback_ && !router_norm_) {
        const TailShape s{x.shape[0],      x.shape[1], query.shape[1],       x.shape[2],
                          council_->heads, top_k_,     head_.weight.shape[0]};
        if (s.fits()) {
            const auto all =
                tail(tape, s, tail_weights<const float>(router_, *council_, head_norm_, head_, &Tensor::data),
                     tail_weights<float>(router_, *council_, head_norm_, head_, &Tensor::grad), x, query);
            out.scores = all.scores, out.logits = all.logits, out.chosen = out.seen = all.chosen;
            return out;
        }
    }
    Tensor u = gather(tape, x, query); // the query rows
    const auto route = [&](Tensor xq) {
        const Routed r = router_.route(tape, seen, for_router(tape, xq), query, top_k_);
        out.scores = r.scores, out.chosen = r.chosen, out.seen = r.seen;
    };
    if (feedback_) // x_q += W_f council(x_q), then the same question again  [Basu 2026, Sec. 4.3, DOL]
        for (Tensor& scores : out.earlier) {
            route(u);
            scores = out.scores;
            u = residual(tape, u, (*feedback_)(tape, (*council_)(tape, x, u, out.seen)));
        }
    if (council_) {
        route(u);
        u = (*council_)(tape, x, u, out.seen);
    }
    out.logits = head_(tape, head_norm_(tape, u));
    return out;
}

Tensor Model::contrastive_scores(Tape& tape, IntTensor tokens, IntTensor query) const {
    constexpr float temperature = 0.07f, tiny = 1e-20f;
    const Tensor x = for_router(tape, representation_.embed(tape, tokens, {}));
    const auto unit = [&](Tensor rows, Tensor w) { return rms_norm(tape, linear(tape, rows, w, {}), {}, tiny); };
    return dot_scores(tape, unit(gather(tape, x, query), router_.wq), unit(x, router_.wk),
                      1.f / (temperature * static_cast<float>(x.shape[2])));
}

} // namespace fci
