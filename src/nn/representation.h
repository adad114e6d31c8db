// Representations: what mixes the tokens before the router, blocks of one kind. A kind is one entry beside its code, in
// its .cpp file, and one line in model/kinds.cpp; flags, help, messages, tests and twins iterate the entries.
#pragma once
#include <climits>
#include <functional>
#include <optional>

#include "nn/budget.h"

namespace fci {

// What a block returns.
struct Mixed {
    Tensor x;              // (b,t,d)
    Tensor features;       // budgeted attention: the embeddings (b,t,d) from which it chose
    IntTensor taking_part; // the positions that took part (b,m)

    Mixed(Tensor mixed = {}) : x(mixed) {} // of every other kind
};

struct Block {
    std::function<Mixed(Tape&, Tensor x)> mix; // (b,t,d) -> (b,t,d)
    std::optional<Budget> budget = {};         // the trainer updates it
};

struct BlockShape { // what a block is built for
    int d, heads, length;
    double number; // N of KIND:N
    bool mean_residual;
    uint64_t seed; // the run's, by which patterns are drawn
};

// The N of KIND:N.
struct KindNumber {
    const char* what = nullptr; // null: the kind takes no number
    double low = 0, high = 0, preset = 0;
    const char* example = "";
    bool whole = true;
    bool of_blocks = false; // N is the number of blocks
};
constexpr KindNumber layers{"the number of layers", 1, 64, 1, "2", true, true};

struct RepresentationKind {
    const char* name;
    KindNumber number = {};
    bool attends = false;       // mixes by attention, which alone cannot tell positions apart
    bool has_positions = true;  // may have position embeddings
    bool needs_routing = false; // learns from the routing loss
    int longest = INT_MAX;      // sequence
    int widest = INT_MAX;       // d_model
    Block (*build)(ParameterBinder&, const std::string& name, const BlockShape&) = nullptr; // null: no block

    bool counts_layers() const { return number.of_blocks; } // else there is one block, or none
};

} // namespace fci
