// FCI: Flow - Council - Investigator, the paper's test bed  [Basu 2026, Sec. 3.2]
//   tokens -> embedding -> representation -> x (b,t,d)
//   router: scores of the query rows -> top k positions and their right neighbours
//   council: the query row attends to those -> head -> logits over the vocabulary
// Only the representation (and, in a few rows, the router) differs between the paper's experiments.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "nn/mamba.h"
#include "nn/mixers.h"
#include "nn/transformer.h"
#include "ops/embedding.h"
#include "ops/top_k.h"
#include "routing/council.h"
#include "routing/router.h"

namespace fci {

// The names are the command line's flags and the keys of a row, with '-'.
struct ModelOptions {
    std::string representation = "transformer:1"; // KIND or KIND:N, see parse_representation
    std::string router = "investigator";          // see routers()
    std::string positions = "everywhere";         // everywhere | in_mixer | none: who gets position embeddings
    std::string embeddings = "learned";           // learned | structured | anchors: the token embeddings
    bool mean_residual = false;                   // global-mean: h_j = x_j + W mean(x) + b
    int d_model = 128, heads = 4, top_k = 4;
    uint64_t seed = 1; // the run's, by which patterns are drawn; set by resolve
};

struct RepresentationKind {
    std::string kind;  // raw, transformer, perceiver, ...
    int layers = 1;    // perceiver: hubs
    double budget = 1; // budgeted-attention: the share of tokens that take part
};
// Every name of a router.
const std::vector<std::string>& routers();

// "flow:2" -> {flow, 2}; throws Exit::usage, with the nearest name, for anything unknown.
RepresentationKind parse_representation(const std::string& text);

// Checks the options against a task's vocabulary and length; throws Exit::usage with the remedy.
void check_model(const ModelOptions&, int vocab, int length);

// The tokens' embedding and the mixing blocks: (b,t) -> (b,t,d)
struct Representation {
    Tensor token, position; // position is empty where there is none
    std::vector<
        std::variant<TransformerBlock, PreNormBlock<SparseAttention>, PreNormBlock<LinearAttention>,
                     PreNormBlock<Rank1Attention>, PreNormBlock<HubAttention>, PreNormBlock<FourierMixing>, FlowBlock>>
        blocks;

    Representation(ParameterBinder&, const ModelOptions&, int vocab, int length);
    Tensor operator()(Tape&, IntTensor tokens) const;
};

class Model {
public:
    struct Output {
        Tensor scores;    // (b,r,t); empty with router none, and at inference with rank1
        IntTensor chosen; // (b,r,2k); empty with router none
        Tensor logits;    // (b,r,vocab)
    };

    Model(ParameterBinder&, const ModelOptions&, int vocab, int length);

    // tokens (b,t), query rows (b,r)
    Output operator()(Tape&, IntTensor tokens, IntTensor query) const;

private:
    int top_k_;
    Representation representation_;
    std::variant<std::monostate, Investigator, Rank1> router_;
    std::optional<Council> council_;
    LayerNorm head_norm_;
    Linear head_;
};

} // namespace fci
