// linear on tensor cores, for many rows; the mathematics is in src/ops/linear.h, the products and their precisions in
// cuda/mma.cuh. A block computes 128 x 128 of a result, a warp 16 rows of that. Of each chunk of 32 of the depth, a
// warp reads its rows of A into registers, and the block B's 128 rows into shared memory; the next chunk is on its way
// in registers meanwhile. The bias is added, and dx added to, where the result is written.
//
//   y = x W^T + b     depth: in
//   dx += dy W        depth: out; B is W across
//   dW += dy^T x      depth: rows; both across. Few tiles and a long sum: blocks take slices of the rows, whose parts
//                     are added in order (cuda/parts.cuh)
//
// db is a sum over rows (cuda/sums.cu). All sums have a fixed order: the same bits on every run. Bound by instructions
// and tensor cores alike: in fp16x3, per warp and chunk, 96 instructions of 2048 multiply-adds take 630 cycles of a
// scheduler's tensor core, and the warp issues about 570 instructions in all.
#include "cuda/mma_linear.cuh"

#include "cuda/mma.cuh"
#include "cuda/parts.cuh"

namespace fci::cuda::mma_linear {
namespace {

using namespace mma;

constexpr int warps = 8, threads = 32 * warps, edge = 16 * warps, across_tiles = edge / chunk,
              stored_at_once = threads / 4; // rows
static_assert(edge == 2 * stored_at_once);

// The products of a launch, one or two (a pair of layers), and the floats between their operands and results.
struct Steps {
    int count;
    int64_t a, b, c;
};

// Where a result goes: row r, column c of a slice is at[slice's number x slice + r stride + c].
struct Result {
    float* at;
    int64_t stride, slice;
    int rows, columns;
    const float* bias; // a number per column; may be null
    bool added;        // to what is there

    __device__ void put(int r, int c, const float (&sum)[part]) const {
        if (r >= rows) return;
        float* to = at + r * stride + c;
        for (int e = 0; e < part; ++e)
            if (c + e < columns) to[e] = (added ? to[e] : bias ? bias[c + e] : 0.f) + sum[e];
    }
};

// C = A B^T over `each` of the depth. grid: (columns, rows, items x slices)
template <Precision P, bool a_across, bool b_across>
__global__ void __launch_bounds__(threads, 1)
    product_kernel(Source a, Source b, Steps items, int depth, int each, Result c) {
    FCI_DYN_SHARED(Stored<P>, stored); // B's rows, 32 each
    const int thread = static_cast<int>(threadIdx.x), t = thread % 4, row = thread / 4;
    const int first_r = static_cast<int>(blockIdx.y) * edge + thread / 32 * 16 + piece_row();
    const int first_c = static_cast<int>(blockIdx.x) * edge;
    const int slices = static_cast<int>(gridDim.z) / items.count, slice = static_cast<int>(blockIdx.z) % slices;
    const int begin = slice * each, end = min(depth, begin + each);
    const int64_t item = blockIdx.z / slices;
    a.at += item * items.a, b.at += item * items.b, c.at += item * items.c + slice * c.slice;
    Piece sum[across_tiles] = {}, x;
    float y[2][part];
    const auto fetch = [&](int from) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            read_part<a_across>(a, first_r + 8 * i, from + part * t, x[i]);
            read_part<b_across>(b, first_c + row + stored_at_once * i, from + part * t, y[i]);
        }
    };
    fetch(begin);
    for (int from = begin; from < end; from += chunk) {
        __syncthreads(); // all warps have read the previous chunk
#pragma unroll
        for (int i = 0; i < 2; ++i) stored[(row + stored_at_once * i) / chunk].put(row % chunk, t, y[i]);
        const Rows<P> rows = Rows<P>::of(x);
        __syncthreads();
        if (from + chunk < end) fetch(from + chunk);
#pragma unroll
        for (int j = 0; j < across_tiles; ++j) add_product(rows, stored[j], sum[j]);
    }
#pragma unroll
    for (int j = 0; j < across_tiles; ++j)
        for (int i = 0; i < 2; ++i) c.put(first_r + 8 * i, first_c + chunk * j + piece_column(), sum[j][i]);
}

constexpr int whole_chunks(int n) { return (n + chunk - 1) / chunk * chunk; }

// each: of the depth, for a slice; whole chunks, if there are several
template <Precision P, bool a_across, bool b_across>
void launch(Source a, Source b, Steps items, int depth, int each, Result c) {
    const int slices = max(1, static_cast<int>(blocks_for(depth, each)));
    a.fours &= items.a % 4 == 0, b.fours &= items.b % 4 == 0;
    FCI_LAUNCH((product_kernel<P, a_across, b_across>),
               dim3(blocks_for(c.columns, edge), blocks_for(c.rows, edge), static_cast<unsigned>(items.count * slices)),
               threads, across_tiles * sizeof(Stored<P>), a, b, items, depth, each, c);
}

} // namespace

void forward(LinearShape s, Items step, const float* x, const float* w, const float* b, float* y) {
    if (!s.rows || !s.out) return;
    in_precision([&](auto p) {
        launch<p(), false, false>({x, s.in, s.rows, s.in}, {w, s.in, s.out, s.in}, {step.count, step.x, step.w, step.y},
                                  s.in, max(s.in, 1), {y, s.out, 0, s.rows, s.out, b, false}); // (1)
    });
}

void backward_x(LinearShape s, Items step, const float* w, const float* dy, float* dx) {
    if (!s.rows || !s.in) return;
    in_precision([&](auto p) {
        launch<p(), false, true>({dy, s.out, s.rows, s.out}, {w, s.in, s.out, s.in},
                                 {step.count, step.y, step.w, step.x}, s.out, max(s.out, 1),
                                 {dx, s.in, 0, s.rows, s.in, nullptr, true}); // (dx)
    });
}

// Slices of at least 8 chunks, and no more blocks than an H100 runs at once.
void backward_w(LinearShape s, Items step, const float* x, const float* dy, float* dw) {
    constexpr int least_rows = 8 * chunk, most_blocks = 132;
    check(step.count <= 2, "mma_linear: {} products at once", step.count);
    if (!s.rows || !s.out || !s.in) return;
    const int tiles = step.count * static_cast<int>(blocks_for(s.out, edge) * blocks_for(s.in, edge));
    const int each = whole_chunks(max(least_rows, static_cast<int>(blocks_for(s.rows, max(1, most_blocks / tiles)))));
    const int slices = static_cast<int>(blocks_for(s.rows, each));
    const int64_t size = int64_t{s.out} * s.in;
    Scratch scratch;
    PartSums<2> sums;
    float *parts = dw, *last = dw + (step.count - 1) * step.w;
    if (slices > 1) {
        parts = last = sums.add(scratch, slices, size, dw);
        if (step.count == 2) last = sums.add(scratch, slices, size, dw + step.w);
    }
    in_precision([&](auto p) {
        launch<p(), true, true>({dy, s.out, s.rows, s.out}, {x, s.in, s.rows, s.in},
                                {step.count, step.y, step.x, last - parts}, s.rows, each,
                                {parts, s.in, size, s.out, s.in, nullptr, slices == 1}); // (dW)
    });
    sums.launch();
}

} // namespace fci::cuda::mma_linear
