// sparse_attention on the GPU; the mathematics is in src/ops/sparse_attention.h. The kernels are attention's
// (cuda/attention.cuh) with other rules. Each block is one warp: its 32 rows see 64 consecutive keys, which are two
// tiles of 32, and the global keys. Gradients of keys come from the rows of their window; a second launch adds those of
// the global keys from all rows.
#include "ops/sparse_attention.h"

#include "cuda/attention.cuh"

namespace fci::cuda {
namespace {

constexpr int reach = SparseShape::reach, near = 2 * tile; // near: slots of the window's keys
static_assert(2 * reach == tile);

__device__ bool inside(int row, int key) { return key >= row - reach && key < row + reach; }
__device__ int within(int time, int row) { return row >= 0 && row < time ? row : -1; }

struct KeysOfRows {
    int time, globals;
    const int32_t* global;
    __device__ int own(int slot) const { return within(time, slot); }
    __device__ Range others(int, int) const { return {0, near + globals}; }
    __device__ int other(int first, int slot) const {
        if (slot < near) return within(time, first - reach + slot);
        return slot < near + globals ? global[slot - near] : -1;
    }
    __device__ bool sees(int row, int slot, int key) const { return inside(row, key) == (slot < near); }
};
struct RowsOfKeys {
    int time;
    __device__ int own(int slot) const { return within(time, slot); }
    __device__ Range others(int, int) const { return {0, near}; }
    __device__ int other(int first, int slot) const { return within(time, first - reach + 1 + slot); }
    __device__ bool sees(int key, int, int row) const { return inside(row, key); }
};
struct RowsOfGlobals {
    int time, globals;
    const int32_t* global;
    __device__ int own(int slot) const { return slot < globals ? global[slot] : -1; }
    __device__ Range others(int, int) const { return {0, time}; }
    __device__ int other(int, int slot) const { return within(time, slot); }
    __device__ bool sees(int key, int, int row) const { return !inside(row, key); }
};

// The shape for attention: q, k and v are columns of one tensor.
AttentionShape shape(const SparseShape& s) {
    return {s.batch, s.time, s.time, s.heads, s.d_head, 3 * s.d(), 3 * s.d(), false};
}

} // namespace

void sparse_attention_forward(SparseShape s, const float* qkv, const int32_t* global, float* y, float* lse) {
    if (s.batch == 0 || s.time == 0) return;
    const float *k = qkv + s.d(), *v = k + s.d();
    launch_forward(shape(s), KeysOfRows{s.time, s.globals, global}, s.time, near + s.globals, 1, qkv, k, v, y, lse);
}

void sparse_attention_backward(SparseShape s, const float* qkv, const int32_t* global, const float* y, const float* lse,
                               const float* dy, float* dqkv) {
    if (s.batch == 0 || s.time == 0) return;
    const float *k = qkv + s.d(), *v = k + s.d();
    float *dk = dqkv + s.d(), *dv = dk + s.d();
    Scratch scratch;
    float* delta = scratch.floats(s.rows_of_heads());
    launch_dq(shape(s), KeysOfRows{s.time, s.globals, global}, s.time, near + s.globals, 1, qkv, k, v, y, lse, dy, dqkv,
              delta);
    launch_dkv(shape(s), RowsOfKeys{s.time}, s.time, near, 1, qkv, k, v, lse, delta, dy, dk, dv);
    if (s.globals)
        launch_dkv(shape(s), RowsOfGlobals{s.time, s.globals, global}, s.globals, s.time, 1, qkv, k, v, lse, delta, dy,
                   dk, dv);
}

} // namespace fci::cuda
