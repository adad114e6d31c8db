#include "model/fci.h"

#include <algorithm>
#include <charconv>

#include "core/nearest.h"

namespace fci {
namespace {

// The kinds that mix by attention, and thus do not tell positions apart by themselves.
const std::vector<std::string> attention_kinds{"transformer",      "causal-transformer", "sparse-transformer",
                                               "linear-attention", "rank1-attention",    "perceiver"};

const std::vector<std::string> kinds{"raw",
                                     "content-only",
                                     "transformer",
                                     "causal-transformer",
                                     "sparse-transformer",
                                     "linear-attention",
                                     "rank1-attention",
                                     "perceiver",
                                     "fourier",
                                     "flow",
                                     "bidir-flow"};

bool has_layers(const std::string& kind) { return kind != "raw" && kind != "content-only"; }

bool has_positions(const ModelOptions& o, const std::string& kind) {
    if (kind == "content-only" || o.positions == "none") return false;
    return o.positions == "everywhere" || // or in_mixer: attention only
           std::find(attention_kinds.begin(), attention_kinds.end(), kind) != attention_kinds.end();
}

} // namespace

const std::vector<std::string>& routers() {
    static const std::vector<std::string> names{
        "investigator", "rank1",    "segment-mean", "segment-max", "segment-linear", "memory-bank", "closed-loop",
        "linucb",       "thompson", "oful",         "bloom",       "random",         "blind",       "none"};
    return names;
}

RepresentationKind parse_representation(const std::string& text) {
    const size_t colon = text.find(':');
    RepresentationKind r{text.substr(0, colon), 1};
    expect_one_of("--representation", r.kind, kinds);
    if (colon == std::string::npos) return has_layers(r.kind) ? r : RepresentationKind{r.kind, 0};
    if (!has_layers(r.kind))
        fail(Exit::usage, "--representation {}: {} has no layers; write {} alone", text, r.kind, r.kind);
    const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, r.layers);
    const bool hubs = r.kind == "perceiver";
    const int most = hubs ? 512 : 64;
    if (error != std::errc() || stop != end || r.layers < 1 || r.layers > most)
        fail(Exit::usage, "--representation {}: the number of {} after ':' must be 1 to {}, e.g. {}:2", text,
             hubs ? "hubs" : "layers", most, r.kind);
    return r;
}

void check_model(const ModelOptions& o, int vocab, int length) {
    parse_representation(o.representation);
    expect_one_of("--router", o.router, routers());
    expect_one_of("--positions", o.positions, {"everywhere", "in_mixer", "none"});
    if (o.d_model < 1 || o.heads < 1 || o.d_model % o.heads != 0)
        fail(Exit::usage, "--d-model {} must be a positive multiple of --heads {}", o.d_model, o.heads);
    if (o.top_k < 1 || o.top_k > length)
        fail(Exit::usage, "--top-k {} must be from 1 to the sequence length {}", o.top_k, length);
    if (vocab < 2) fail(Exit::usage, "--vocab {}: at least 2 tokens are needed", vocab);
}

Representation::Representation(ParameterBinder& p, const ModelOptions& o, int vocab, int length) {
    const RepresentationKind r = parse_representation(o.representation);
    token = p.add("token.weight", {vocab, o.d_model}, {Init::normal, 0.02f});
    if (has_positions(o, r.kind)) position = p.add("position.weight", {length, o.d_model}, {Init::normal, 0.02f});
    if (r.kind == "fourier" && length > 16384) // its tables take 4 length^2 bytes
        fail(Exit::usage, "--representation {}: a length of {} is too long for it, at most 16384", o.representation,
             length);
    const int d = o.d_model;
    const std::vector<int32_t> global = global_positions(length, o.seed);
    if (r.kind == "perceiver") // one block of r.layers hubs
        blocks.emplace_back(PreNormBlock<HubAttention>(p, "block.0", d, o.heads, r.layers));
    for (int i = 0; i < r.layers && r.kind != "perceiver"; ++i) {
        const std::string name = "block." + std::to_string(i);
        if (r.kind == "transformer" || r.kind == "causal-transformer")
            blocks.emplace_back(TransformerBlock(p, name, d, o.heads, r.kind == "causal-transformer"));
        else if (r.kind == "sparse-transformer")
            blocks.emplace_back(PreNormBlock<SparseAttention>(p, name, d, o.heads, global));
        else if (r.kind == "linear-attention")
            blocks.emplace_back(PreNormBlock<LinearAttention>(p, name, d, o.heads));
        else if (r.kind == "rank1-attention")
            blocks.emplace_back(PreNormBlock<Rank1Attention>(p, name, d, o.heads));
        else if (r.kind == "fourier")
            blocks.emplace_back(PreNormBlock<FourierMixing>(p, name, d, length));
        else
            blocks.emplace_back(FlowBlock(p, name, d, r.kind == "bidir-flow"));
    }
}

Tensor Representation::operator()(Tape& tape, IntTensor tokens) const {
    Tensor x = embedding(tape, tokens, token, position);
    for (const auto& block : blocks) x = std::visit([&](const auto& b) { return b(tape, x); }, block);
    return x;
}

Model::Model(ParameterBinder& p, const ModelOptions& o, int vocab, int length)
    : top_k_(o.top_k), representation_(p, o, vocab, length), router_([&]() -> decltype(router_) {
          if (o.router == "investigator") return Investigator(p, "router", o.d_model, o.heads);
          if (o.router == "rank1") return Rank1(p, "router", o.d_model);
          return std::monostate{};
      }()),
      council_(o.router == "none" ? std::nullopt
                                  : std::optional<Council>(std::in_place, p, "council", o.d_model, o.heads)),
      head_norm_(p, "head.norm", o.d_model), head_(p, "head.linear", o.d_model, vocab) {}

Model::Output Model::operator()(Tape& tape, IntTensor tokens, IntTensor query) const {
    const Tensor x = representation_(tape, tokens);
    Tensor u = gather(tape, x, query); // the query rows
    Output out;
    if (const auto* investigator = std::get_if<Investigator>(&router_)) {
        out.scores = investigator->scores(tape, u, x);
        out.chosen = top_k(tape, out.scores, top_k_);
    } else if (const auto* rank1 = std::get_if<Rank1>(&router_)) {
        if (tape.recording()) {
            out.scores = rank1->scores(tape, x, query);
            out.chosen = top_k(tape, out.scores, top_k_);
        } else
            out.chosen = rank1_choose(tape, x, query, rank1->v, top_k_); // O(n): no scores
    }
    if (council_) u = (*council_)(tape, x, u, out.chosen);
    out.logits = head_(tape, head_norm_(tape, u));
    return out;
}

} // namespace fci
