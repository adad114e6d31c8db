#include "model/fci.h"

#include <charconv>

#include "core/nearest.h"
#include "ops/anchors.h"
#include "ops/rms_norm.h"

namespace fci {
namespace {

const std::vector<std::string> kinds{"raw",  "content-only", "transformer", "causal-transformer",
                                     "flow", "bidir-flow",   "global-mean", "budgeted-attention"};

bool has_layers(const std::string& kind) { return kind != "raw" && kind != "content-only" && kind != "global-mean"; }

bool has_positions(const ModelOptions& o, const std::string& kind) {
    if (kind == "content-only" || o.positions == "none") return false;
    return o.positions == "everywhere" || kind == "transformer" || kind == "causal-transformer" ||
           kind == "budgeted-attention"; // in_mixer: attention only
}

} // namespace

const std::vector<std::string>& routers() {
    static const std::vector<std::string> names{
        "investigator", "rank1",    "segment-mean", "segment-max", "segment-linear", "memory-bank", "closed-loop",
        "linucb",       "thompson", "oful",         "bloom",       "random",         "blind",       "none"};
    return names;
}

bool learns_by_gradient(const std::string& router) {
    for (const char* name : {"linucb", "thompson", "oful", "bloom", "random", "blind"})
        if (router == name) return false;
    return true;
}

RepresentationKind parse_representation(const std::string& text) {
    const size_t colon = text.find(':');
    RepresentationKind r{text.substr(0, colon)};
    expect_one_of("--representation", r.kind, kinds);
    if (colon == std::string::npos) {
        if (r.kind == "budgeted-attention") r.budget = 0.5;
        if (!has_layers(r.kind)) r.layers = 0;
        return r;
    }
    if (!has_layers(r.kind))
        fail(Exit::usage, "--representation {}: {} has no layers; write {} alone", text, r.kind, r.kind);
    const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
    if (r.kind == "budgeted-attention") {
        const auto [stop, error] = std::from_chars(begin, end, r.budget);
        if (error != std::errc() || stop != end || !(r.budget > 0 && r.budget <= 1))
            fail(Exit::usage, "--representation {}: a share of the tokens, above 0 and at most 1, e.g. {}:0.5", text,
                 r.kind);
        return r;
    }
    const auto [stop, error] = std::from_chars(begin, end, r.layers);
    if (error != std::errc() || stop != end || r.layers < 1 || r.layers > 64)
        fail(Exit::usage, "--representation {}: the number of layers after ':' must be 1 to 64, e.g. {}:2", text,
             r.kind);
    return r;
}

void check_model(const ModelOptions& o, int vocab, int length) {
    parse_representation(o.representation);
    expect_one_of("--router", o.router, routers());
    expect_one_of("--embeddings", o.embeddings, {"learned", "structured", "anchors"});
    expect_one_of("--positions", o.positions, {"everywhere", "in_mixer", "none"});
    if (o.router == "none" && o.representation.starts_with("budgeted-attention"))
        fail(Exit::usage, "--representation {}: its reward is the routing loss, which --router none has not",
             o.representation);
    if (o.d_model < 1 || o.heads < 1 || o.d_model % o.heads != 0)
        fail(Exit::usage, "--d-model {} must be a positive multiple of --heads {}", o.d_model, o.heads);
    if (o.top_k < 1 || o.top_k > length)
        fail(Exit::usage, "--top-k {} must be from 1 to the sequence length {}", o.top_k, length);
    if (o.router.starts_with("segment-")) {
        if (length % SegmentRouter::segments != 0)
            fail(Exit::usage, "--router {} cuts a sequence into {}: --length {} is not a multiple of that", o.router,
                 SegmentRouter::segments, length);
        if (o.top_k > SegmentRouter::segments)
            fail(Exit::usage, "--top-k {}: there are {} segments", o.top_k, SegmentRouter::segments);
    }
    if (vocab < 2) fail(Exit::usage, "--vocab {}: at least 2 tokens are needed", vocab);
}

Representation::Representation(ParameterBinder& p, const ModelOptions& o, int vocab, int length) {
    const RepresentationKind r = parse_representation(o.representation);
    token = p.add("token.weight", {vocab, o.d_model},
                  {o.embeddings == "structured" ? Init::concepts : Init::normal, 0.02f});
    if (has_positions(o, r.kind)) position = p.add("position.weight", {length, o.d_model}, {Init::normal, 0.02f});
    if (o.embeddings == "anchors") anchor = p.add("anchor.weight", {51, o.d_model}, {Init::normal, 0.02f});
    if (r.kind == "budgeted-attention") {
        budgeted.emplace(p, "block.0", o.d_model, o.heads, r.budget);
        return;
    }
    if (r.kind == "global-mean") blocks.emplace_back(GlobalMean(p, "block.0", o.d_model, o.mean_residual));
    for (int i = 0; i < r.layers; ++i) {
        const std::string name = "block." + std::to_string(i);
        if (r.kind == "transformer" || r.kind == "causal-transformer")
            blocks.emplace_back(TransformerBlock(p, name, o.d_model, o.heads, r.kind == "causal-transformer"));
        else
            blocks.emplace_back(FlowBlock(p, name, o.d_model, r.kind == "bidir-flow"));
    }
}

Tensor Representation::embed(Tape& tape, IntTensor tokens) const {
    // What a token adds to its embedding depends on the token alone: it is added to the table.
    return embedding(tape, tokens, anchor ? anchors(tape, token, anchor) : token, position);
}

Representation::Mixed Representation::operator()(Tape& tape, IntTensor tokens) const {
    Mixed out{embed(tape, tokens), {}, {}};
    if (budgeted) {
        out.features = out.x;
        out.taking_part = budgeted->budget.choose(tape, out.x);
        out.x = (*budgeted)(tape, out.x, out.taking_part);
    }
    for (const auto& block : blocks) out.x = std::visit([&](const auto& b) { return b(tape, out.x); }, block);
    return out;
}

Model::Model(ParameterBinder& p, const ModelOptions& o, int vocab, int length)
    : top_k_(o.top_k), place_length_(o.router.starts_with("segment-") ? length / SegmentRouter::segments : 1),
      representation_(p, o, vocab, length), router_([&]() -> decltype(router_) {
          using Kind = SegmentRouter::Kind;
          if (o.router == "rank1") return Rank1(p, "router", o.d_model);
          if (o.router == "segment-mean") return SegmentRouter(p, "router", o.d_model, o.heads, Kind::mean);
          if (o.router == "segment-max") return SegmentRouter(p, "router", o.d_model, o.heads, Kind::max);
          if (o.router == "segment-linear") return SegmentRouter(p, "router", o.d_model, o.heads, Kind::linear);
          if (o.router == "memory-bank") return MemoryBank(p, "router", o.d_model);
          if (o.router == "none") return std::monostate{};
          return Investigator(p, "router", o.d_model, o.heads);
      }()) {
    if (o.router == "closed-loop") feedback_.emplace(p, "router.feedback", o.d_model, o.d_model, false);
    if (o.router != "none") council_.emplace(p, "council", o.d_model, o.heads);
    head_norm_.emplace(p, "head.norm", o.d_model);
    head_.emplace(p, "head.linear", o.d_model, vocab);
}

Model::Output Model::operator()(Tape& tape, IntTensor tokens, IntTensor query) const {
    Output out;
    out.mixed = representation_(tape, tokens);
    const Tensor x = out.mixed.x;
    Tensor u = gather(tape, x, query); // the query rows
    const auto route = [&](Tensor xq) {
        const Routed r = std::visit(
            [&](const auto& router) -> Routed {
                if constexpr (std::is_same_v<std::decay_t<decltype(router)>, std::monostate>)
                    return {};
                else
                    return router(tape, x, xq, query, top_k_);
            },
            router_);
        out.scores = r.scores, out.picked = r.picked, out.chosen = r.chosen;
    };
    if (feedback_) // x_q += W_f council(x_q), then the same question again  [Basu 2026, Sec. 4.3, DOL]
        for (Tensor& scores : out.earlier) {
            route(u);
            scores = out.scores;
            u = residual(tape, u, (*feedback_)(tape, (*council_)(tape, x, u, out.chosen)));
        }
    if (council_) {
        route(u);
        u = (*council_)(tape, x, u, out.chosen);
    }
    out.logits = (*head_)(tape, (*head_norm_)(tape, u));
    return out;
}

Tensor Model::contrastive_scores(Tape& tape, IntTensor tokens, IntTensor query) const {
    constexpr float temperature = 0.07f, tiny = 1e-20f;
    const auto& router = std::get<Investigator>(router_);
    const Tensor x = representation_.embed(tape, tokens);
    const auto unit = [&](Tensor rows, Tensor w) { return rms_norm(tape, linear(tape, rows, w, {}), {}, tiny); };
    return dot_scores(tape, unit(gather(tape, x, query), router.wq), unit(x, router.wk),
                      1.f / (temperature * static_cast<float>(x.shape[2])));
}

} // namespace fci
