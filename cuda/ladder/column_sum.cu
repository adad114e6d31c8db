// The ladder of a sum down the columns, the gradient of a bias: db[c] += sum_r dy[r,c]. There is one addition for each
// number that is read, so memory bounds it, and what counts is how many reads are under way at once. Atomic additions
// would be the shortest way to spread the rows over blocks; their order, and so the last bits, differ from run to run.
#include "cuda/ladder/ladder.cuh"
#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

// Step 1: a thread takes a column. A warp reads whole lines, but there are only a few warps.
void naive(int rows, int columns, const float* dy, float* db) {
    each(columns, [=] __device__(int64_t c) {
        float sum = 0;
        for (int r = 0; r < rows; ++r) sum += dy[int64_t{r} * columns + c];
        db[c] += sum;
    });
}

// Step 2: a warp takes a column. 32 times the threads, but each lane's read is a line of 32 numbers, of which it takes
// one.
__global__ void warps_kernel(int rows, int columns, const float* dy, float* db) {
    const int c = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (c >= columns) return;
    float sum = 0;
    for (int r = lane; r < rows; r += 32) sum += dy[int64_t{r} * columns + c];
    sum = warp_sum(sum);
    if (lane == 0) db[c] += sum;
}

// Step 3: a block takes 32 columns of all rows, its 8 warps every eighth row.
__global__ void blocks_kernel(int rows, int columns, const float* dy, float* db) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const bool inside = c < columns;
    const float sum = sum_in_strands<float>(0, rows, inside, [&](int r) { return dy[int64_t{r} * columns + c]; });
    if (inside && threadIdx.y == 0) db[c] += sum;
}

// Step 4 is the shipped one, cuda/parts.cuh: the same for 256 rows at a time, and a second kernel adds those parts in
// order. Rows are now spread over blocks, so that all of the GPU reads.

} // namespace

void add_column_sum(std::deque<Ladder>& ladders, bool tiny) {
    const int rows = tiny ? 300 : 16384, columns = tiny ? 37 : 512;
    Ladder& ladder = ladders.emplace_back("sum down the columns", 1. * rows * columns);
    const std::vector<float> x = ladder.random(size_t(rows) * columns);
    std::vector<float> expected(columns);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c) expected[c] += x[size_t(r) * columns + c];
    const float* dy = ladder.input(x);
    float* db = ladder.result("db", expected, rows, true);
    ladder.step("naive", "one thread per column: whole lines, few warps", [=] { naive(rows, columns, dy, db); });
    ladder.step("warps", "one warp per column: 32 times the threads, a line for each number",
                [=] { FCI_LAUNCH(warps_kernel, blocks_for(columns, 8), 256, 0, rows, columns, dy, db); });
    ladder.step("blocks", "32 columns per block, 8 warps taking turns at the rows", [=] {
        FCI_LAUNCH(blocks_kernel, blocks_for(columns, 32), dim3(32, sum_strands), 0, rows, columns, dy, db);
    });
    ladder.step("parts (shipped)", "256 rows at a time, the parts added in order: all of the GPU reads", [=] {
        add_column_sum({rows, columns, dy, db});
    });
}

} // namespace fci::cuda
