// Products on tensor cores by one warp, for the tests and for "what a tensor core adds up" (cuda/README.md).
#include "cuda/ladder/ladder.cuh"
#include "cuda/mma.cuh"

namespace fci::cuda {
namespace {

__device__ void write_piece(const mma::Piece& sum, float* c) {
    for (int i = 0; i < 2; ++i)
        for (int e = 0; e < mma::part; ++e)
            c[(mma::piece_row() + 8 * i) * mma::chunk + mma::piece_column() + e] = sum[i][e];
}

template <Precision P>
__global__ void chunked_kernel(int depth, const float* a, const float* b, float* c) {
    FCI_SHARED(mma::Stored<P>, stored, 1);
    const int g = mma::piece_row(), t = static_cast<int>(threadIdx.x) % 4;
    mma::Piece sum = {};
    for (int from = 0; from < depth; from += mma::chunk) {
        mma::Piece x;
        for (int i = 0; i < 2; ++i) mma::read_part<false>({a, depth, 16, depth}, g + 8 * i, from + mma::part * t, x[i]);
        __syncwarp(); // the previous chunk has been read
        for (int r = g; r < mma::chunk; r += 8) {
            float y[mma::part];
            mma::read_part<false>({b, depth, mma::chunk, depth}, r, from + mma::part * t, y);
            stored[0].put(r, t, y);
        }
        __syncwarp();
        add_product(mma::Rows<P>::of(x), stored[0], sum);
    }
    write_piece(sum, c);
}

// The obvious way: all three products of all chunks into one accumulator.
__global__ void one_accumulator_kernel(int depth, const float* a, const float* b, float* c) {
    constexpr Precision P = Precision::tf32x3;
    const int g = mma::piece_row(), t = static_cast<int>(threadIdx.x) % 4;
    for (int j = 0; j < 4; ++j) {
        float sum[4] = {};
        for (int from = 0; from < depth; from += mma::chunk) {
            float x[mma::part];
            const auto terms = [&](const float* rows, int r) {
                mma::read_part<false>({rows, depth, mma::chunk, depth}, r, from + mma::part * t, x);
                return mma::Terms<P>::of(x, 1.f);
            };
            const auto top = terms(a, g), bottom = terms(a, g + 8), right = terms(b, 8 * j + g);
            for (int product = 0; product < 3; ++product) { // low high, high low, high high
                const int of_a = product == 0, of_b = product == 1;
                const auto *x0 = top.word[of_a], *x1 = bottom.word[of_a], *y = right.word[of_b];
                for (int u = 0; u < mma::part; u += 2)
                    mma::multiply(false, x0[u], x1[u], x0[u + 1], x1[u + 1], y[u], y[u + 1], sum);
            }
        }
        for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * mma::chunk + 8 * j + 2 * t + i % 2] = sum[i];
    }
}

__global__ void multiply_add_kernel(int depth, const float* a, const float* b, float* c) {
    mma::Piece sum = {};
    for (int i = 0; i < 2; ++i)
        for (int e = 0; e < mma::part; ++e)
            for (int k = 0; k < depth; ++k)
                sum[i][e] = fmaf(a[(mma::piece_row() + 8 * i) * depth + k], b[(mma::piece_column() + e) * depth + k],
                                 sum[i][e]);
    write_piece(sum, c);
}

__global__ void fragments_kernel(bool half, const uint32_t* a, const uint32_t* b, float* d) {
    const int lane = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
    a += 4 * lane, b += 2 * lane, d += 4 * lane;
    float sum[4] = {d[0], d[1], d[2], d[3]};
    mma::multiply(half, a[0], a[1], a[2], a[3], b[0], b[1], sum);
    for (int i = 0; i < 4; ++i) d[i] = sum[i];
}

} // namespace

void warp_product(WarpProduct how, int depth, const float* a, const float* b, float* c) {
    const auto kernel = how == WarpProduct::fp16x3   ? chunked_kernel<Precision::fp16x3>
                        : how == WarpProduct::tf32x3 ? chunked_kernel<Precision::tf32x3>
                        : how == WarpProduct::tf32   ? chunked_kernel<Precision::tf32>
                        : how == WarpProduct::fp32   ? multiply_add_kernel
                                                     : one_accumulator_kernel;
    FCI_LAUNCH(kernel, 1, 32, 0, depth, a, b, c);
}

void multiply_fragments(bool half, int sets, const uint32_t* a, const uint32_t* b, float* d) {
    FCI_LAUNCH(fragments_kernel, static_cast<unsigned>(sets), 32, 0, half, a, b, d);
}

} // namespace fci::cuda
