// FCI: Flow - Council - Investigator, the paper's test bed  [Basu 2026, Sec. 3.2]
//   tokens -> embedding -> representation -> x (b,t,d)
//   with a frozen backbone its features (b,t,w) [-> W f + c] replace the embedding
//   router: scores of the query rows, from x (with router-norm: LN x) -> top k positions and their right neighbours
//   council: the query row attends to those -> head -> logits over the vocabulary
// Only the representation (and, in a few rows, the router) differs between the paper's experiments.
#pragma once
#include <array>

#include "model/options.h"
#include "nn/basic.h"
#include "nn/representation.h"
#include "routing/council.h"
#include "routing/router.h"

namespace fci {

// The tokens' embedding, or a backbone's features of them (b,t,w), and the mixing blocks: (b,t) -> (b,t,d)
struct Representation {
    Tensor token, position;            // position is empty where there is none
    Tensor anchor;                     // (concepts,d) with anchors, else empty
    std::optional<Linear> of_features; // w -> d, where a backbone's width is not the model's
    std::vector<Block> blocks;

    Representation(ParameterBinder&, const ModelOptions&, int vocab, int length);
    // features: empty without a backbone; with one, tokens are ignored
    Mixed operator()(Tape&, IntTensor tokens, Tensor features) const;
    Tensor embed(Tape&, IntTensor tokens, Tensor features) const; // before any mixing
};

class Model {
public:
    struct Output {
        Tensor scores;    // (b,r,places); empty with router none, and at inference with rank1
        IntTensor chosen; // (b,r,2k): the k places, best first, then their neighbours; empty with router none
        IntTensor seen;   // (b,r,m): the positions that the Council saw
        Tensor logits;    // (b,r,vocab)
        std::array<Tensor, 2> earlier; // closed-loop: scores of the rounds before
        Mixed mixed;
    };

    Model(ParameterBinder&, const ModelOptions&, int vocab, int length);

    // tokens (b,t), query rows (b,r), a backbone's features (b,t,w)
    Output operator()(Tape&, IntTensor tokens, IntTensor query, Tensor features = {}) const;
    // What the router sees (b,t,d).
    Tensor represent(Tape& tape, IntTensor tokens, Tensor features = {}) const {
        return for_router(tape, representation_(tape, tokens, features).x);
    }

    const Budget* budget() const {
        for (const Block& b : representation_.blocks)
            if (b.budget) return &*b.budget;
        return nullptr;
    }
    int place_length() const { return place_length_; } // positions of one place
    // Scores of the query rows from the embeddings alone, for InfoNCE: cosines over the temperature. (b,r,t)
    Tensor contrastive_scores(Tape&, IntTensor tokens, IntTensor query) const;

private:
    Tensor for_router(Tape& tape, Tensor x) const { return router_norm_ ? (*router_norm_)(tape, x) : x; }

    int top_k_, place_length_;
    Representation representation_;
    Router router_;                  // route is empty with router none
    std::optional<Linear> feedback_; // closed-loop
    std::optional<Council> council_;
    LayerNorm head_norm_;
    Linear head_;
    std::optional<LayerNorm> router_norm_; // declared last, so that all other initial values are the same without it
};

} // namespace fci
