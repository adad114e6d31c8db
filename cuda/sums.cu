// Sums down the columns (cuda/parts.cuh). A step computes them together at the end of its backward pass: two kernels in
// all instead of two per layer, which had too few blocks to be worth a launch.
#include "cuda/parts.cuh"
#include "train/gpu.h"

namespace fci::cuda {
namespace {

constexpr int most = 16; // sums per launch
struct Table {
    int count = 0;
    ColumnSum of[most];
    float *parts[most], *parts_of_x[most]; // where a chunk's sum goes
    int end[most];                         // blocks up to a sum's last one
    __device__ __host__ static int chunks(const ColumnSum& s) { return (s.rows + column_chunk - 1) / column_chunk; }
    // A gradient over a batch has many columns of few rows (dP of an embedding): there a thread adds up a column.
    __device__ __host__ static bool is_low(const ColumnSum& s) { return s.rows <= 32 && !s.x; }
    __device__ __host__ static int across(const ColumnSum& s) {
        const int width = is_low(s) ? 32 * sum_strands : 32;
        return (s.columns + width - 1) / width;
    }
};

// Blocks of 32 columns, or of 256 low ones: the blocks of a chunk are adjacent, then chunk by chunk, then sum by sum.
__global__ void column_sums_kernel(Table t) {
    int k = 0;
    while (static_cast<int>(blockIdx.x) >= t.end[k]) ++k;
    const int block = static_cast<int>(blockIdx.x) - (k ? t.end[k - 1] : 0); // within the k-th sum
    const ColumnSum& s = t.of[k];
    if (Table::is_low(s)) {
        const int c = (block * sum_strands + threadIdx.y) * 32 + threadIdx.x;
        if (c >= s.columns) return;
        float sum = 0;
#pragma unroll 8
        for (int r = 0; r < s.rows; ++r) sum += s.dy[int64_t{r} * s.columns + c];
        s.to[c] += sum;
        return;
    }
    const int across = Table::across(s), chunk = block / across, c = block % across * 32 + threadIdx.x,
              begin = chunk * column_chunk, end = min(s.rows, begin + column_chunk);
    const bool inside = c < s.columns, adds = Table::chunks(s) == 1;
    const int64_t at = int64_t{chunk} * s.columns + c;
    const auto put = [&](float* to, float sum) {
        if (inside && threadIdx.y == 0) to[at] = adds ? to[at] + sum : sum;
    };
    if (s.x) {
        const Pair sum = sum_in_strands<Pair>(begin, end, inside, [&](int r) {
            const float dy = s.dy[int64_t{r} * s.columns + c];
            return Pair{dy * ((s.x[int64_t{r} * s.columns + c] - s.mean[r]) * s.rstd[r]), dy};
        });
        put(t.parts_of_x[k], sum.first), put(t.parts[k], sum.second);
    } else {
        put(t.parts[k],
            sum_in_strands<float>(begin, end, inside, [&](int r) { return s.dy[int64_t{r} * s.columns + c]; }));
    }
}

struct Together {
    bool waiting = false;
    Table table;

    void make() {
        if (!table.count) return;
        Scratch scratch;
        PartSums<2 * most> sums;
        int blocks = 0;
        for (int k = 0; k < table.count; ++k) {
            const ColumnSum& s = table.of[k];
            const int chunks = Table::chunks(s);
            table.parts[k] = chunks > 1 ? sums.add(scratch, chunks, s.columns, s.to) : s.to;
            table.parts_of_x[k] = chunks > 1 && s.x ? sums.add(scratch, chunks, s.columns, s.of_x) : s.of_x;
            table.end[k] = blocks += Table::across(s) * chunks;
        }
        FCI_LAUNCH(column_sums_kernel, static_cast<unsigned>(blocks), dim3(32, sum_strands), 0, table);
        sums.launch();
        table = {}; // keep no addresses here: what they point to need only outlive the graph that uses it
    }
};
thread_local Together together;

} // namespace

void add_column_sum(const ColumnSum& s) {
    if (s.rows <= 0 || s.columns <= 0) return;
    together.table.of[together.table.count++] = s;
    if (!together.waiting || together.table.count == most) together.make();
}

void with_sums_together(void (*work)(void*), void* with) {
    struct Until {
        ~Until() { together = {}; } // also if the work failed
    } end;
    together.waiting = true;
    work(with);
    together.make();
}

} // namespace fci::cuda
