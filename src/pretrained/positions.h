// What GPT-NeoX and Llama have in common: rotary positions and causal attention of one sequence.
#pragma once
#include "ops/attention.h"
#include "ops/rotary.h"
#include "pretrained/layered.h"

namespace fci {

// The angles of a length, where the ops read them.
struct RotaryPositions {
    RotaryTables tables;
    const float *cos, *sin;
    RotaryPositions(int length, int rotated, double base, Device device)
        : tables(length, rotated, base), cos(constant(device, tables.cos.data(), tables.cos.size())),
          sin(constant(device, tables.sin.data(), tables.sin.size())) {}
    RotaryPositions(const RotaryPositions&) = delete; // cos and sin may point into tables
    void rotate(const Space& at, RotaryShape s, const float* x, float* y) const {
        FCI_ON(at.device, rotary_forward)(s, x, cos, sin, y);
    }
};

// Of every position to those before it and itself. q y (length,heads,d_head), k v (length,heads/shared,d_head)
inline void attend_before(Space& at, int heads, int shared, int d_head, const float* q, const float* k, const float* v,
                          float* y) {
    AttentionShape s{1, at.length, at.length, heads, d_head, heads * d_head, heads / shared * d_head, true};
    s.shared = shared;
    FCI_ON(at.device, attention_forward)(s, q, k, v, y, at.floats(s.lse_size()));
}

} // namespace fci
