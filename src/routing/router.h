// Routers: they score places for a query row and so choose the positions that the Council sees; a place is a
// position, or a segment of positions. Scores learn from the routing loss alone: the choice itself has no derivative.
// A router is part of a model, or stands outside it: a bandit works on a trained model's embeddings, an index on
// tokens. Each is one entry beside its code and one line in model/kinds.cpp; flags, help, messages, tests and twins
// iterate these.
#pragma once
#include <functional>
#include <optional>

#include "core/tape.h"
#include "nn/parameters.h"

namespace fci {

constexpr int segment_count = 16; // segments of a sequence, for the routers that choose segments

// What a router returns.
struct Routed {
    Tensor scores;    // (b,r,places); empty at inference with rank1
    IntTensor chosen; // (b,r,2k): the k places, best first, then their right neighbours
    IntTensor seen;   // (b,r,m): positions for the Council
};

struct Router {
    // x (b,t,d), its query rows xq (b,r,d) and which they are (b,r)
    std::function<Routed(Tape&, Tensor x, Tensor xq, IntTensor query, int k)> route;
    Tensor wq = {}, wk = {}; // (d,d), of the Investigator: InfoNCE can train them
};

enum class BanditRule : int; // routing/bandit.h
struct IndexTask;            // routing/index.h
struct IndexHits;

struct RouterKind {
    const char* name;
    enum Type { in_model, bandit, index, text_index } type = in_model; // text_index: of study/hotpot_eval.h only
    bool by_segment = false;                                           // places are segments
    bool asks_again = false;                                           // scores again after the Council
    Router (*build)(ParameterBinder&, const std::string& name, int d,
                    int heads) = nullptr; // in_model; null: no Council
    std::optional<BanditRule> rule = {};
    IndexHits (*choose)(const IndexTask&) = nullptr; // index
    bool contrasts = false;                          // InfoNCE can train it

    bool routes() const { return type != in_model || build; }
    bool learns() const { return type == in_model || type == bandit; }
    int place_length(int length) const { return by_segment ? length / segment_count : 1; } // positions of one place
};

} // namespace fci
