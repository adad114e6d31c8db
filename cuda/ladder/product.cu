// The ladder of a matrix product, to be read from top to bottom: y = x W^T, the first layer of a Transformer's FFN.
// What counts is how many numbers have to be read for a multiply-add, and from where.
#include "cuda/common.cuh"
#include "cuda/ladder/ladder.cuh"
#include "ops/linear.h"

namespace fci::cuda {
namespace {

// Step 1: a thread computes a number. Lanes have neighbouring columns of y, so they read rows of W that are `in` floats
// apart: 32 lines of memory for 32 numbers.
void naive(LinearShape s, const float* x, const float* w, float* y) {
    each(int64_t{s.rows} * s.out, [=] __device__(int64_t at) {
        const float *x_row = x + at / s.out * s.in, *w_row = w + at % s.out * s.in;
        float sum = 0;
        for (int k = 0; k < s.in; ++k) sum += x_row[k] * w_row[k];
        y[at] = sum;
    });
}

// Steps 2 and 3: blocks of 32 x 32 threads share tiles of both operands, read as whole lines. In the sum lane c reads
// W[c][k]. With rows of 32 floats the same column of all rows is in one of the 32 banks, so that a warp's read takes 32
// turns; with rows of 33 each lane has a bank of its own.
constexpr int tile = 32;

template <int pitch>
__global__ void tiles_kernel(LinearShape s, const float* x, const float* w, float* y) {
    FCI_SHARED(float, X, tile* pitch);
    FCI_SHARED(float, W, tile* pitch);
    const int i = threadIdx.y, j = threadIdx.x, row = blockIdx.y * tile + i, column = blockIdx.x * tile + j,
              row_of_w = blockIdx.x * tile + i;
    float sum = 0;
    for (int from = 0; from < s.in; from += tile) {
        const bool inside = from + j < s.in;
        X[i * pitch + j] = inside && row < s.rows ? x[int64_t{row} * s.in + from + j] : 0.f;
        W[i * pitch + j] = inside && row_of_w < s.out ? w[int64_t{row_of_w} * s.in + from + j] : 0.f;
        __syncthreads();
        for (int k = 0; k < tile; ++k) sum += X[i * pitch + k] * W[j * pitch + k];
        __syncthreads(); // before the tiles are overwritten
    }
    if (row < s.rows && column < s.out) y[int64_t{row} * s.out + column] = sum;
}

template <int pitch>
void tiles(LinearShape s, const float* x, const float* w, float* y) {
    FCI_LAUNCH(tiles_kernel<pitch>, dim3(blocks_for(s.out, tile), blocks_for(s.rows, tile)), dim3(tile, tile), 0, s, x,
               w, y);
}

// Steps 4 and 5: a thread computes 8 x 8 numbers, which stay in registers: for 64 multiply-adds it reads 16 numbers
// from shared memory, as four vectors. Tiles are stored with k first, so that a vector is four rows. The rows of a
// thread are 4t to 4t+3 and 64 more, since vectors that neighbours read must lie side by side to have no bank twice.
// __launch_bounds__(256, blocks) leaves each thread 65536 / (256 blocks) registers. With one block there is room. With
// four, 64 registers hold no 64 sums and everything else: some go to memory and back in each step of k (spills), which
// costs far more than the warps bring that now fit on a multiprocessor. nvcc -Xptxas -v says it: 119 registers and no
// spills, 64 and about 400 words.
constexpr int panel = 128, depth = 8, pitch = panel + 4, panel_threads = 256;

__device__ __forceinline__ int part_of(int t, int i) { return (i & 4) * 16 + 4 * t + (i & 3); } // row i of thread t

// A tile of 128 rows and 8 of k; each thread brings half a row.
__device__ __forceinline__ void load_panel(const float* from, int rows, int in, int first, int k, float* to) {
    const int r = threadIdx.x / 2, part = threadIdx.x % 2 * 4;
    for (int i = part; i < part + 4; ++i)
        to[i * pitch + r] = first + r < rows && k + i < in ? from[int64_t{first + r} * in + k + i] : 0.f;
}

template <int blocks>
__global__ void __launch_bounds__(panel_threads, blocks)
    registers_kernel(LinearShape s, const float* x, const float* w, float* y) {
    FCI_SHARED(float4, x_memory, depth * pitch / 4); // float4: aligned for vectors
    FCI_SHARED(float4, w_memory, depth * pitch / 4);
    float *X = reinterpret_cast<float*>(&x_memory[0]), *W = reinterpret_cast<float*>(&w_memory[0]);
    const int first_row = blockIdx.y * panel, first_column = blockIdx.x * panel, i = threadIdx.x / 16,
              j = threadIdx.x % 16;
    float sum[8][8] = {};
    for (int from = 0; from < s.in; from += depth) {
        load_panel(x, s.rows, s.in, first_row, from, X);
        load_panel(w, s.out, s.in, first_column, from, W);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < depth; ++k) {
            float a[8], b[8];
            for (int half = 0; half < 2; ++half) {
                const float4 four_a = *reinterpret_cast<const float4*>(X + k * pitch + part_of(i, 4 * half)),
                             four_b = *reinterpret_cast<const float4*>(W + k * pitch + part_of(j, 4 * half));
                a[4 * half] = four_a.x, a[4 * half + 1] = four_a.y, a[4 * half + 2] = four_a.z,
                      a[4 * half + 3] = four_a.w;
                b[4 * half] = four_b.x, b[4 * half + 1] = four_b.y, b[4 * half + 2] = four_b.z,
                      b[4 * half + 3] = four_b.w;
            }
#pragma unroll
            for (int r = 0; r < 8; ++r)
#pragma unroll
                for (int c = 0; c < 8; ++c) sum[r][c] += a[r] * b[c];
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; ++r)
#pragma unroll
        for (int c = 0; c < 8; ++c) {
            const int row = first_row + part_of(i, r), column = first_column + part_of(j, c);
            if (row < s.rows && column < s.out) y[int64_t{row} * s.out + column] = sum[r][c];
        }
}

template <int blocks>
void registers(LinearShape s, const float* x, const float* w, float* y) {
    FCI_LAUNCH(registers_kernel<blocks>, dim3(blocks_for(s.out, panel), blocks_for(s.rows, panel)), panel_threads, 0, s,
               x, w, y);
}

// Step 6 is cuBLAS, which linear runs in fp32. Steps 7 and 8 are linear on tensor cores, with float32's accuracy:
// cuda/mma_linear.cu. Their share of the limit may be above 100%, since it is the limit of multiply-adds.

} // namespace

void add_product(std::deque<Ladder>& ladders, bool tiny) {
    const LinearShape s = tiny ? LinearShape{519, 19, 70} : LinearShape{16384, 128, 512};
    Ladder& ladder = ladders.emplace_back("product y = x W^T", 2. * s.rows * s.in * s.out);
    const std::vector<float> x = ladder.random(size_t(s.rows) * s.in), w = ladder.random(size_t(s.out) * s.in);
    std::vector<float> expected(size_t(s.rows) * s.out);
    cpu::linear_forward(s, x.data(), w.data(), nullptr, expected.data());
    const float *X = ladder.input(x), *W = ladder.input(w);
    float* y = ladder.result("y", expected, s.in);
    ladder.step("naive", "one thread per number; 2 reads a multiply-add, W's scattered", [=] { naive(s, X, W, y); });
    ladder.step("tiles", "32 x 32 tiles in shared memory, whose columns are in one bank",
                [=] { tiles<tile>(s, X, W, y); });
    ladder.step("no conflicts", "rows of 33 floats: no two lanes in one bank", [=] { tiles<tile + 1>(s, X, W, y); });
    ladder.step("registers", "8 x 8 numbers per thread: a quarter of a read a multiply-add",
                [=] { registers<1>(s, X, W, y); });
    ladder.step("spills", "the same with 64 registers for 4 times the warps: sums go to memory",
                [=] { registers<4>(s, X, W, y); });
    const auto product = [=] { linear_forward(s, X, W, nullptr, y); };
    ladder.step("cuBLAS (shipped)", "fp32", product);
    ladder.step("fp16x3 (shipped)", "tensor cores, each number as two halves, three products",
                [=] { in_precision(Precision::fp16x3, product); });
    ladder.step("3xTF32 (shipped)", "the same with TF32: half the rate, no scaling",
                [=] { in_precision(Precision::tf32x3, product); });
}

} // namespace fci::cuda
