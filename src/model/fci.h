// FCI: Flow - Council - Investigator, the paper's test bed  [Basu 2026, Sec. 3.2]
//   tokens -> embedding -> representation -> x (b,t,d)
//   router: scores of the query rows, of x or with router-norm of LN x -> top k positions and their right neighbours
//   council: the query row attends to those -> head -> logits over the vocabulary
// Only the representation (and, in a few rows, the router) differs between the paper's experiments.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "nn/budgeted.h"
#include "nn/global_mean.h"
#include "nn/mamba.h"
#include "nn/mixers.h"
#include "nn/transformer.h"
#include "ops/embedding.h"
#include "ops/top_k.h"
#include "routing/council.h"
#include "routing/memory_bank.h"
#include "routing/segment.h"

namespace fci {

// The names are the command line's flags and the keys of a row, with '-'.
struct ModelOptions {
    std::string representation = "transformer:1"; // KIND or KIND:N, see parse_representation
    std::string router = "investigator";          // see routers()
    std::string positions = "everywhere";         // everywhere | in_mixer | none: who gets position embeddings
    std::string embeddings = "learned";           // learned | structured | anchors: the token embeddings
    bool mean_residual = false;                   // global-mean: h_j = x_j + W mean(x) + b
    bool router_norm = false;                     // the router sees LN x; the Council sees x all the same
    int d_model = 128, heads = 4, top_k = 4;
    uint64_t seed = 1; // the run's, by which patterns are drawn; set by resolve
};

struct RepresentationKind {
    std::string kind;  // raw, transformer, perceiver, ...
    int layers = 0;    // blocks
    int hubs = 0;      // of a perceiver
    double budget = 0; // budgeted-attention: the share of tokens that take part

    std::string text() const; // in full: transformer:1, perceiver:16, budgeted-attention:0.5, raw
};
// A router is part of a model, or stands beside one: a bandit looks at a trained model's embeddings, an index at
// tokens. bm25 is no --router: it is how results name the index over text (study/hotpot_eval.h).
enum class RouterKind { in_model, bandit, index };
const std::vector<std::string>& routers(); // every name
RouterKind router_kind(const std::string& router);

// "flow:2" -> {flow, 2}; throws Exit::usage, with the nearest name, for anything unknown.
RepresentationKind parse_representation(const std::string& text);
bool has_positions(const ModelOptions&); // whether there are position embeddings

// Checks the options against a task's vocabulary and length (no_length: not known yet); throws Exit::usage with the
// remedy.
constexpr int no_length = 1 << 20;
void check_model(const ModelOptions&, int vocab, int length);

// The tokens' embedding and the mixing blocks: (b,t) -> (b,t,d)
struct Representation {
    Tensor token, position; // position is empty where there is none
    Tensor anchor;          // (concepts,d) with anchors, else empty
    std::vector<std::variant<TransformerBlock, PreNormBlock<SparseAttention>, PreNormBlock<LinearAttention>,
                             PreNormBlock<Rank1Attention>, PreNormBlock<HubAttention>, PreNormBlock<FourierMixing>,
                             FlowBlock, GlobalMean>>
        blocks;
    std::optional<BudgetedBlock> budgeted; // in the place of blocks

    Representation(ParameterBinder&, const ModelOptions&, int vocab, int length);
    struct Mixed {
        Tensor x;              // (b,t,d)
        Tensor features;       // budgeted attention: the embeddings (b,t,d) from which it chose
        IntTensor taking_part; // these positions (b,m)
    };
    Mixed operator()(Tape&, IntTensor tokens) const;
    Tensor embed(Tape&, IntTensor tokens) const; // before any mixing
};

class Model {
public:
    struct Output {
        Tensor scores;    // (b,r,places); empty with router none, and at inference with rank1
        IntTensor picked; // (b,r,2k): the k places, best first, then their neighbours; empty with router none
        IntTensor chosen; // (b,r,m): the positions that the Council saw
        Tensor logits;    // (b,r,vocab)
        std::array<Tensor, 2> earlier; // closed-loop: scores of the rounds before
        Representation::Mixed mixed;
    };

    Model(ParameterBinder&, const ModelOptions&, int vocab, int length);

    // tokens (b,t), query rows (b,r)
    Output operator()(Tape&, IntTensor tokens, IntTensor query) const;
    // What the router sees (b,t,d).
    Tensor represent(Tape& tape, IntTensor tokens) const { return for_router(tape, representation_(tape, tokens).x); }

    const Budget* budget() const { return representation_.budgeted ? &representation_.budgeted->budget : nullptr; }
    int place_length() const { return place_length_; } // positions of one place that is routed to
    // Scores of the query rows from the embeddings alone, for InfoNCE: cosines over the temperature. (b,r,t)
    Tensor contrastive_scores(Tape&, IntTensor tokens, IntTensor query) const;

private:
    Tensor for_router(Tape& tape, Tensor x) const { return router_norm_ ? (*router_norm_)(tape, x) : x; }

    int top_k_, place_length_;
    Representation representation_;
    std::variant<std::monostate, Investigator, Rank1, SegmentRouter, MemoryBank> router_;
    std::optional<Linear> feedback_; // closed-loop
    std::optional<Council> council_;
    LayerNorm head_norm_;
    Linear head_;
    std::optional<LayerNorm> router_norm_; // the last: the start values of the others are the same with it
};

} // namespace fci
