// owners: which warp owns which rows of attention, and how a launch is cut accordingly; cuda/attention.cuh has the
// kernels. A warp owns 32 rows of a head, a block the rows of its warps; if owners are few and others many, all warps
// of a block share 32 rows and take turns at the others.
#pragma once
#include <optional>

#include "cuda/tile.cuh"
#include "ops/attention.h"

namespace fci::cuda {

struct Range {
    int begin, end;
};

// Offsets of one head of one sequence in q, k, v, y, lse.
struct Head {
    int64_t q, k, v, y, lse;
    __device__ Head(const AttentionShape& s, int64_t index) {
        const int64_t b = index / s.heads, head = index % s.heads;
        q = b * s.queries * s.q_stride + head * s.d_head;
        k = b * s.keys * s.kv_stride + head / s.shared * s.d_head;
        v = b * s.keys * s.value_stride() + head / s.shared * s.value_width();
        y = (b * s.queries * s.heads + head) * s.value_width();
        lse = index * s.queries;
    }
};

__device__ __forceinline__ float attention_scale(const AttentionShape& s) {
    return 1.f / sqrtf(static_cast<float>(s.d_head));
}

constexpr int most_warps = 4, sharing_warps = 8, P_stride = row_stride(tile);

// Whether all warps of a block share the same owners.
inline bool few_owners(int owners, int others) { return others >= 8 * owners; }

// How a launch is cut (plan(), below).
struct Plan {
    int warps, tiles, chunk; // warps per block; blocks per head; others in shared memory at a time
    size_t bytes;
    bool sharing;
};

// What a block works on.
struct Work {
    int64_t head;
    int warp, turn, turns;         // of every `turns` tiles of others the warp takes number `turn`
    int rows, first, mine, column; // owners of the block; its first; this warp's first; the panel's first column
    __device__ explicit Work(const Plan& plan) {
        warp = static_cast<int>(threadIdx.x) / 32;
        turn = plan.sharing ? warp : 0, turns = plan.sharing ? plan.warps : 1;
        rows = plan.sharing ? tile : static_cast<int>(blockDim.x);
        head = blockIdx.x / plan.tiles;
        // Causal: the rows that see most come first.
        first = (plan.tiles - 1 - static_cast<int>(blockIdx.x % plan.tiles)) * rows;
        mine = plan.sharing ? first : first + warp * tile;
        column = blockIdx.y * tile;
    }
    // This warp's part of a shared array with one row per owner, rows `ld` apart; own_P: of P, which has rows for each
    // warp.
    __device__ const float* own(const float* rows_of, int ld) const { return rows_of + (mine - first) * ld; }
    __device__ float* own_P(float* P) const { return P + warp * tile * P_stride; }
};

// When warps share owners: adds all warps' t to the first warp's, in warp order. The whole block takes part.
__device__ __forceinline__ void add_up(const Work& work, float* P, Tile& t) {
    if (work.turns == 1) return;
    float* at = P + tile_row() * P_stride + 4 * tile_column();
    __syncthreads(); // the first warp has read P
    put_tile(t, work.own_P(P), P_stride);
    __syncthreads();
    for (int other = 1; other < work.turns && work.turn == 0; ++other)
        for (int i = 0; i < 8; ++i)
            for (int c = 0; c < 4; ++c) t[i][c] += at[(other * tile + 4 * i) * P_stride + c];
}

// The same for the forward pass. Each warp has its own maximum; the maxima are stored in P behind the tile.
__device__ __forceinline__ void add_up(const Work& work, float* P, Tile& o, float (&highest)[8], float (&total)[8]) {
    static_assert(P_stride >= tile + 2);
    if (work.turns == 1) return;
    const int column = 4 * tile_column();
    float* at = P + tile_row() * P_stride;
    put_tile(o, work.own_P(P), P_stride);
    for (int i = 0; i < 8 && column == 0; ++i) {
        float* row = work.own_P(at) + 4 * i * P_stride;
        row[tile] = highest[i], row[tile + 1] = total[i];
    }
    __syncthreads();
    if (work.turn != 0) return;
#pragma unroll // else o is in local memory
    for (int i = 0; i < 8; ++i) {
        const float mine = highest[i];
        for (int other = 1; other < work.turns; ++other)
            highest[i] = max(highest[i], at[(other * tile + 4 * i) * P_stride + tile]);
        const float shrink = exp2(mine - highest[i]);
        total[i] *= shrink;
        for (int c = 0; c < 4; ++c) o[i][c] *= shrink;
        for (int other = 1; other < work.turns; ++other) {
            const float* row = at + (other * tile + 4 * i) * P_stride;
            const float share = exp2(row[tile] - highest[i]);
            total[i] += share * row[tile + 1];
            for (int c = 0; c < 4; ++c) o[i][c] += share * row[column + c];
        }
    }
}

// How a launch is cut. Blocks with `resident` warps in all should fit on an SM; a head too wide for that gets fewer
// resident warps, then smaller blocks. A short head is thus kept whole in shared memory. A head of 512 keys, 32 wide,
// is not: beside 144 KiB of k and v there is room for 8 warps, and 16 hide more latency; instead each of its 4 blocks
// reads k and v once, from L2. (The ladder's step "on chip" keeps the head whole, one row per thread.)
// Empty where even one warp has no room for a tile of owners and one of others.
inline std::optional<Plan> find_plan(int owners, int others, int warps, int resident, int owner_floats,
                                     int other_floats) {
    constexpr size_t reserved = 1024; // per block, for the system
    const size_t limit = shared_limit();
    const bool sharing = few_owners(owners, others);
    warps = sharing ? min(sharing_warps, (others + tile - 1) / tile) : min(warps, (owners + tile - 1) / tile);
    for (; warps; --warps) {
        const int rows = sharing ? tile : warps * tile;
        const size_t share = (limit + reserved) * warps / resident, room = share > reserved ? share - reserved : 0;
        const size_t own = sizeof(float) * (rows * owner_floats + warps * tile * P_stride);
        const size_t step = sizeof(float) * tile * other_floats;
        if (own + step > limit) continue;
        const int fit = room > own + step ? static_cast<int>((room - own) / step) : 1;
        const int steps = min(fit, max(1, (others + tile - 1) / tile));
        return Plan{warps, static_cast<int>(blocks_for(owners, rows)), steps * tile, own + steps * step, sharing};
    }
    return {};
}
inline Plan plan(int owners, int others, int warps, int resident, int owner_floats, int other_floats) {
    const auto found = find_plan(owners, others, warps, resident, owner_floats, other_floats);
    if (!found)
        fail(Exit::usage,
             "attention: a head this wide needs more than the {} bytes of shared memory that a block may have on "
             "this GPU; use more heads",
             shared_limit());
    return *found;
}
// The blocks of a head x the panels of 32 columns of a result.
inline dim3 grid(const AttentionShape& s, const Plan& p, int columns) {
    return {static_cast<unsigned>(int64_t{s.batch} * s.heads * p.tiles), blocks_for(columns, tile)};
}

} // namespace fci::cuda
