#include "model/fci.h"

#include <algorithm>
#include <charconv>

#include "core/nearest.h"
#include "ops/anchors.h"
#include "ops/rms_norm.h"
#include "tasks/distant_evidence.h"

namespace fci {
namespace {

// The kinds that mix by attention, and thus do not tell positions apart by themselves.
const std::vector<std::string> attention_kinds{"transformer",       "causal-transformer", "sparse-transformer",
                                               "linear-attention",  "rank1-attention",    "perceiver",
                                               "budgeted-attention"};

const std::vector<std::string> kinds{"raw",
                                     "content-only",
                                     "transformer",
                                     "causal-transformer",
                                     "sparse-transformer",
                                     "linear-attention",
                                     "rank1-attention",
                                     "budgeted-attention",
                                     "perceiver",
                                     "fourier",
                                     "global-mean",
                                     "flow",
                                     "bidir-flow"};

} // namespace

const std::vector<std::string>& routers() {
    static const std::vector<std::string> names{
        "investigator", "rank1",    "segment-mean", "segment-max", "segment-linear", "memory-bank", "closed-loop",
        "linucb",       "thompson", "oful",         "bloom",       "random",         "blind",       "none"};
    return names;
}

RouterKind router_kind(const std::string& router) {
    if (router == "linucb" || router == "thompson" || router == "oful") return RouterKind::bandit;
    if (router == "bloom" || router == "random" || router == "blind" || router == "bm25") return RouterKind::index;
    return RouterKind::in_model;
}

RepresentationKind parse_representation(const std::string& text) {
    const size_t colon = text.find(':');
    RepresentationKind r{text.substr(0, colon)};
    expect_one_of("--representation", r.kind, kinds);
    r.layers = r.kind != "raw" && r.kind != "content-only";
    if (!r.layers || r.kind == "global-mean") {
        if (colon != std::string::npos)
            fail(Exit::usage, "--representation {}: {} has no layers; write {} alone", text, r.kind, r.kind);
        return r;
    }
    const auto after_colon = [&](auto& number, double low, double high, const char* what, const char* example) {
        if (colon == std::string::npos) return;
        const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(begin, end, number);
        if (error != std::errc() || stop != end || !(number >= low && number <= high))
            fail(Exit::usage, "--representation {}: {} after ':' must be {:g} to {:g}, e.g. {}:{}", text, what, low,
                 high, r.kind, example);
    };
    if (r.kind == "budgeted-attention") {
        r.budget = 0.5;
        after_colon(r.budget, 0.001, 1, "the share of the tokens", "0.5");
    } else if (r.kind == "perceiver") {
        r.hubs = 1;
        after_colon(r.hubs, 1, 512, "the number of hubs", "16");
    } else {
        after_colon(r.layers, 1, 64, "the number of layers", "2");
    }
    return r;
}

std::string RepresentationKind::text() const {
    if (kind == "budgeted-attention") return fmt::format("{}:{}", kind, budget);
    if (kind == "perceiver") return fmt::format("{}:{}", kind, hubs);
    return layers && kind != "global-mean" ? fmt::format("{}:{}", kind, layers) : kind;
}

bool has_positions(const ModelOptions& o) {
    const std::string kind = parse_representation(o.representation).kind;
    if (kind == "content-only" || o.positions == "none") return false;
    return o.positions == "everywhere" || // or in_mixer: attention only
           std::find(attention_kinds.begin(), attention_kinds.end(), kind) != attention_kinds.end();
}

void check_model(const ModelOptions& o, int vocab, int length) {
    const RepresentationKind r = parse_representation(o.representation);
    if (r.kind == "fourier" && length > 16384 && length < no_length) // its tables take 4 length^2 bytes
        fail(Exit::usage, "--representation {}: a length of {} is too long for it, at most 16384", o.representation,
             length);
    if (r.kind == "budgeted-attention" && o.d_model > BudgetShape::widest)
        fail(Exit::usage, "--d-model {}: --representation {} takes {} at most", o.d_model, o.representation,
             BudgetShape::widest);
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
                  {o.embeddings == "structured" ? Init::concepts : Init::normal, 0.02f, concept_size});
    if (has_positions(o)) position = p.add("position.weight", {length, o.d_model}, {Init::normal, 0.02f});
    if (o.embeddings == "anchors") // one for each concept
        anchor = p.add("anchor.weight", {(vocab + concept_size - 2) / concept_size, o.d_model}, {Init::normal, 0.02f});
    const int d = o.d_model;
    for (int i = 0; i < r.layers; ++i) {
        const std::string name = "block." + std::to_string(i);
        if (r.kind == "transformer" || r.kind == "causal-transformer")
            blocks.emplace_back(TransformerBlock(p, name, d, o.heads, r.kind == "causal-transformer"));
        else if (r.kind == "sparse-transformer")
            blocks.emplace_back(PreNormBlock<SparseAttention>(p, name, d, o.heads, global_positions(length, o.seed)));
        else if (r.kind == "linear-attention")
            blocks.emplace_back(PreNormBlock<LinearAttention>(p, name, d, o.heads));
        else if (r.kind == "rank1-attention")
            blocks.emplace_back(PreNormBlock<Rank1Attention>(p, name, d, o.heads));
        else if (r.kind == "perceiver")
            blocks.emplace_back(PreNormBlock<HubAttention>(p, name, d, o.heads, r.hubs));
        else if (r.kind == "budgeted-attention")
            budgeted.emplace(p, name, d, o.heads, r.budget);
        else if (r.kind == "global-mean")
            blocks.emplace_back(GlobalMean(p, name, d, o.mean_residual));
        else if (r.kind == "fourier")
            blocks.emplace_back(PreNormBlock<FourierMixing>(p, name, d, length));
        else
            blocks.emplace_back(FlowBlock(p, name, d, r.kind == "bidir-flow"));
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
      }()),
      feedback_(o.router == "closed-loop"
                    ? std::optional<Linear>(std::in_place, p, "router.feedback", o.d_model, o.d_model, false)
                    : std::nullopt),
      council_(o.router == "none" ? std::nullopt
                                  : std::optional<Council>(std::in_place, p, "council", o.d_model, o.heads)),
      head_norm_(p, "head.norm", o.d_model), head_(p, "head.linear", o.d_model, vocab),
      router_norm_(o.router_norm && o.router != "none"
                       ? std::optional<LayerNorm>(std::in_place, p, "router.norm", o.d_model)
                       : std::nullopt) {}

Model::Output Model::operator()(Tape& tape, IntTensor tokens, IntTensor query) const {
    Output out;
    out.mixed = representation_(tape, tokens);
    const Tensor x = out.mixed.x, seen = for_router(tape, x);
    Tensor u = gather(tape, x, query); // the query rows
    const auto route = [&](Tensor xq) {
        const Routed r = std::visit(
            [&](const auto& router) -> Routed {
                if constexpr (std::is_same_v<std::decay_t<decltype(router)>, std::monostate>)
                    return {};
                else
                    return router(tape, seen, for_router(tape, xq), query, top_k_);
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
    out.logits = head_(tape, head_norm_(tape, u));
    return out;
}

Tensor Model::contrastive_scores(Tape& tape, IntTensor tokens, IntTensor query) const {
    constexpr float temperature = 0.07f, tiny = 1e-20f;
    const auto& router = std::get<Investigator>(router_);
    const Tensor x = for_router(tape, representation_.embed(tape, tokens));
    const auto unit = [&](Tensor rows, Tensor w) { return rms_norm(tape, linear(tape, rows, w, {}), {}, tiny); };
    return dot_scores(tape, unit(gather(tape, x, query), router.wq), unit(x, router.wk),
                      1.f / (temperature * static_cast<float>(x.shape[2])));
}

} // namespace fci
