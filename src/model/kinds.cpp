// All kinds, a line each, in the order in which help and messages name them. An entry stands beside its
// code, as representation_kinds::NAME or router_kinds::NAME.
#define FCI_REPRESENTATIONS(KIND)                                                                                      \
    KIND(raw)                                                                                                          \
    KIND(content_only)                                                                                                 \
    KIND(transformer)                                                                                                  \
    KIND(causal_transformer)                                                                                           \
    KIND(sparse_transformer)                                                                                           \
    KIND(linear_attention)                                                                                             \
    KIND(rank1_attention)                                                                                              \
    KIND(budgeted_attention)                                                                                           \
    KIND(perceiver)                                                                                                    \
    KIND(fourier)                                                                                                      \
    KIND(global_mean)                                                                                                  \
    KIND(flow)                                                                                                         \
    KIND(bidir_flow)
#define FCI_ROUTERS(KIND)                                                                                              \
    KIND(investigator)                                                                                                 \
    KIND(rank1)                                                                                                        \
    KIND(segment_mean)                                                                                                 \
    KIND(segment_max)                                                                                                  \
    KIND(segment_linear)                                                                                               \
    KIND(memory_bank)                                                                                                  \
    KIND(closed_loop)                                                                                                  \
    KIND(linucb)                                                                                                       \
    KIND(thompson)                                                                                                     \
    KIND(oful)                                                                                                         \
    KIND(bloom)                                                                                                        \
    KIND(random)                                                                                                       \
    KIND(blind)                                                                                                        \
    KIND(none)                                                                                                         \
    KIND(bm25)

#include <algorithm>
#include <charconv>

#include "core/nearest.h"
#include "model/options.h"
#include "nn/representation.h"
#include "routing/router.h"

namespace fci {

#define FCI_REPRESENTATION(name) extern const RepresentationKind name;
#define FCI_ROUTER(name) extern const RouterKind name;
#define FCI_ADDRESS(name) &name,

namespace representation_kinds {
FCI_REPRESENTATIONS(FCI_REPRESENTATION)
const RepresentationKind raw{.name = "raw"}, content_only{.name = "content-only", .has_positions = false};
static const std::vector<const RepresentationKind*> all{FCI_REPRESENTATIONS(FCI_ADDRESS)};
} // namespace representation_kinds

namespace router_kinds {
FCI_ROUTERS(FCI_ROUTER)
static const std::vector<const RouterKind*> all{FCI_ROUTERS(FCI_ADDRESS)};
} // namespace router_kinds

const std::vector<const RepresentationKind*>& representations() { return representation_kinds::all; }
const std::vector<const RouterKind*>& routers() { return router_kinds::all; }

std::vector<std::string> router_names() {
    std::vector<std::string> names;
    for (const RouterKind* k : routers())
        if (k->type != RouterKind::text_index) names.emplace_back(k->name);
    return names;
}

const RouterKind& router_kind(const std::string& router) { return find_kind("--router", router, routers()); }

std::vector<Option> option_table(ModelOptions& o) {
    OptionTable t{Option::model};
    std::vector<std::string> kinds;
    for (const RepresentationKind* k : representations())
        kinds.push_back(std::string(k->name) + (k->number.what ? ":N" : ""));
    t.any("representation", &o.representation,
          fmt::format("what mixes the tokens before the router ({})", fmt::join(kinds, " | ")).c_str());
    t.word("router", &o.router, router_names(), "what chooses positions; none: head(LN x_q) alone");
    t.word("positions", &o.positions, {"everywhere", "in_mixer", "none"},
           "who gets position embeddings: all but content-only, attention only, none");
    t.word("embeddings", &o.embeddings, {"learned", "structured", "anchors"},
           "how token embeddings start and what they add: N(0,0.02); N(0,0.02) a concept + N(0,0.01) a token; an "
           "anchor a concept");
    t.any("mean_residual", &o.mean_residual, "global-mean: adds x_j to the mean");
    t.any("router_norm", &o.router_norm, "LayerNorm of what the router sees; the Council sees it as it is");
    t.number("d_model", &o.d_model, 1, 1 << 16, "width");
    t.number("heads", &o.heads, 1, 1 << 10, "attention heads");
    t.number("top_k", &o.top_k, 1, largest_size, "positions that the router chooses");
    t.any("backbone", &o.backbone,
          "folder of a pretrained model (config.json, *.safetensors), frozen: its hidden states replace "
          "embeddings, and --representation is the bridge on them, raw for none");
    t.number("backbone_layer", &o.backbone_layer, -1, largest_size,
             "the states after this layer; -1: the last, after the final norm; 0: the backbone's embedding");
    t.word("backbone_weights", &o.backbone_weights, {"stored", "random"}, "random: the same shape, drawn: a control");
    t.any("backbone_width", &o.backbone_width,
          "native: the model has the backbone's width; a number: a learned linear map to it; either way it is d-model");
    t.word("backbone_precision", &o.backbone_precision, {"fp16", "fp32"}, "of the states");
    t.any("backbone_hash", &o.backbone_hash, "what the folder must hold, else it is refused; found by itself");
    return t.all;
}

Mixing::Mixing(const std::string& representation) {
    const size_t colon = representation.find(':');
    kind = &find_kind("--representation", representation.substr(0, colon), representations());
    const KindNumber& n = kind->number;
    number = n.preset;
    if (colon == std::string::npos) return;
    if (!n.what)
        fail(Exit::usage, "--representation {}: {} has no layers; write {} alone", representation, kind->name,
             kind->name);
    const char *begin = representation.data() + colon + 1, *end = representation.data() + representation.size();
    int whole = 0;
    const auto [stop, error] = n.whole ? std::from_chars(begin, end, whole) : std::from_chars(begin, end, number);
    if (n.whole) number = whole;
    if (error != std::errc() || stop != end || !(number >= n.low && number <= n.high))
        fail(Exit::usage, "--representation {}: {} after ':' must be {:g} to {:g}, e.g. {}:{}", representation, n.what,
             n.low, n.high, kind->name, n.example);
}

int Mixing::blocks() const { return kind->counts_layers() ? static_cast<int>(number) : kind->build ? 1 : 0; }

std::string Mixing::text() const { return kind->number.what ? fmt::format("{}:{}", kind->name, number) : kind->name; }

bool has_positions(const ModelOptions& o) {
    const RepresentationKind& kind = *Mixing(o.representation).kind;
    if (o.has_backbone()) return false; // its states have positions
    if (!kind.has_positions || o.positions == "none") return false;
    return o.positions == "everywhere" || kind.attends; // or in_mixer
}

void check_model(const ModelOptions& o, int vocab, int length) {
    const RepresentationKind& mixer = *Mixing(o.representation).kind;
    if (length > mixer.longest && length < no_length)
        fail(Exit::usage, "--representation {}: a length of {} is too long for it, at most {}", o.representation,
             length, mixer.longest);
    if (o.d_model > mixer.widest)
        fail(Exit::usage, "--d-model {}: --representation {} takes {} at most", o.d_model, o.representation,
             mixer.widest);
    const RouterKind& router = router_kind(o.router);
    expect_one_of("--embeddings", o.embeddings, {"learned", "structured", "anchors"});
    expect_one_of("--positions", o.positions, {"everywhere", "in_mixer", "none"});
    if (!router.routes() && mixer.needs_routing)
        fail(Exit::usage, "--representation {}: its reward is the routing loss, which --router {} does not have",
             o.representation, o.router);
    if (o.d_model < 1 || o.heads < 1 || o.d_model % o.heads != 0)
        fail(Exit::usage, "--d-model {} must be a positive multiple of --heads {}", o.d_model, o.heads);
    if (o.top_k < 1 || o.top_k > length)
        fail(Exit::usage, "--top-k {} must be from 1 to the sequence length {}", o.top_k, length);
    if (router.by_segment && router.type == RouterKind::in_model) { // an index reports it itself
        if (length % segment_count != 0)
            fail(Exit::usage, "--router {} cuts a sequence into {}: --length {} is not a multiple of that", o.router,
                 segment_count, length);
        if (o.top_k > segment_count) fail(Exit::usage, "--top-k {}: there are {} segments", o.top_k, segment_count);
    }
    if (o.has_backbone()) {
        if (o.embeddings != "learned")
            fail(Exit::usage, "--embeddings {} and --backbone: its states replace the embeddings; leave one out",
                 o.embeddings);
        if (router.type != RouterKind::in_model)
            fail(Exit::usage, "--router {} and --backbone: it looks at embeddings, or at tokens; take another router",
                 o.router);
    }
    if (vocab < 2) fail(Exit::usage, "--vocab {}: at least 2 tokens are needed", vocab);
}

} // namespace fci
