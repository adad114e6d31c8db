// Scaling: time and memory of routing against the length n, at inference, with every row as a query. One worker,
// starting from the representation x (n,128). Each measurement runs in a separate process, whose peak memory is
// reported, x included.
//   full     all n x n scores of the Investigator, then the top k of each row: O(n^2) time and memory
//   sparse   W_qkv x and sparse attention: a window of 32 and 16 positions per row, O(n)
//   rank-1   one number per token, the best partners by its sign: O(n), no scores
#include <array>
#include <cmath>

#include "bench/bench.h"
#include "bench/measure.h"
#include "core/files.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/rank1_scores.h"
#include "ops/routing_scores.h"
#include "ops/sparse_attention.h"
#include "ops/top_k.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {
namespace {

constexpr int d = 128, heads = 4, k = 4;
constexpr int lengths[] = {256, 1024, 4096, 16384, 65536, 262144, 1000000};
constexpr int longest_full = 16384; // 1 GiB of scores; four times the length would need 16
constexpr int compared = 4096;      // the length at which full and sparse attention are compared
constexpr double wanted = 5;        // sparse attention should be this much faster there

struct Numbers {
    double ms = 0, mb = 0;
};

float* random_floats(Arena& arena, int64_t n) {
    float* x = arena.floats(n);
    Rng rng(1, Stream::pattern, static_cast<uint64_t>(n));
    for (int64_t i = 0; i < n; ++i) x[i] = rng.uniform(-1, 1);
    return x;
}

// The median of the calls that fit into half a second, at least one, after a first call that touches the memory.
template <class F>
double median_ms(const F& f) {
    f();
    std::vector<double> ms;
    const double begin = now_seconds();
    do {
        const double start = now_seconds();
        f();
        ms.push_back(1e3 * (now_seconds() - start));
    } while (now_seconds() - begin < 0.5 && ms.size() < 1000);
    return spread(ms).median;
}

double full_ms(int n) {
    Arena arena;
    const RoutingShape s{1, n, n, d, heads};
    const float *x = random_floats(arena, int64_t{n} * d), *wq = random_floats(arena, d * d),
                *wk = random_floats(arena, d * d);
    float *scores = arena.floats(int64_t{n} * n), *saved = arena.floats(2 * s.vectors());
    const TopKShape choice{n, n, k};
    int32_t* chosen = arena.array<int32_t>(choice.size());
    return median_ms([&] {
        cpu::routing_scores_forward(s, x, x, wq, wk, scores, saved);
        cpu::top_k_forward(choice, scores, chosen);
    });
}

double sparse_ms(int n) {
    Arena arena;
    const std::vector<int32_t> global = global_positions(n, 1);
    const SparseShape s{1, n, heads, d / heads, static_cast<int>(global.size())};
    const float *x = random_floats(arena, int64_t{n} * d), *w = random_floats(arena, 3 * d * d),
                *b = random_floats(arena, 3 * d);
    float *qkv = arena.floats(int64_t{3} * n * d), *y = arena.floats(int64_t{n} * d), *lse = arena.floats(s.lse_size());
    return median_ms([&] {
        cpu::linear_forward({n, d, 3 * d}, x, w, b, qkv);
        cpu::sparse_attention_forward(s, qkv, global.data(), y, lse);
    });
}

double rank1_ms(int n) {
    Arena arena;
    Tape tape(arena, false);
    const Tensor x{random_floats(arena, int64_t{n} * d), nullptr, {1, n, d}}, v{random_floats(arena, d), nullptr, {d}};
    int32_t* every = arena.array<int32_t>(n);
    for (int i = 0; i < n; ++i) every[i] = i;
    return median_ms([&] {
        const Arena::Mark mark = arena.mark();
        rank1_choose(tape, x, {every, {1, n}}, v, k);
        arena.release(mark);
    });
}

// Milliseconds of attention forward at one length, full and sparse, with the same q, k and v.
std::pair<double, double> attention_ms(int n) {
    Arena arena;
    const std::vector<int32_t> global = global_positions(n, 1);
    const AttentionShape full{1, n, n, heads, d / heads, 3 * d, 3 * d, false};
    const SparseShape sparse{1, n, heads, d / heads, static_cast<int>(global.size())};
    const float* qkv = random_floats(arena, int64_t{3} * n * d);
    float *y = arena.floats(int64_t{n} * d), *lse = arena.floats(sparse.lse_size());
    const double full_time = median_ms([&] { cpu::attention_forward(full, qkv, qkv + d, qkv + 2 * d, y, lse); });
    return {full_time, median_ms([&] { cpu::sparse_attention_forward(sparse, qkv, global.data(), y, lse); })};
}

} // namespace

void run_scaling(const std::string& file) {
    if (!file.empty()) expect_writable(file);
    std::string table = "method\tn\tms\tMB\tns_per_token\n";
    fmt::print("Routing at inference, every row a query, from x (n,{}); one worker. MB: peak resident memory.\n\n", d);
    fmt::print("{:<8}{:>9}{:>12}{:>10}{:>14}\n", "method", "n", "ms", "MB", "ns per token");
    const struct {
        const char* name;
        double (*ms)(int n);
        int longest;
    } methods[] = {{"full", full_ms, longest_full}, {"sparse", sparse_ms, 1 << 30}, {"rank-1", rank1_ms, 1 << 30}};
    for (const auto& method : methods)
        for (const int n : lengths) {
            if (n > method.longest) {
                fmt::print("{:<8}{:>9}  stops here: its scores alone would take {:.0f} GiB\n", method.name, n,
                           4.0 * n * n / (1 << 30));
                break;
            }
            const Numbers m = measured_in_child<Numbers>([&] {
                                  use_one_blas_thread();
                                  const double ms = method.ms(n);
                                  return std::vector<Numbers>{{ms, peak_rss_mb()}};
                              }).at(0);
            fmt::print("{:<8}{:>9}{:>12.3f}{:>10.0f}{:>14.1f}\n", method.name, n, m.ms, m.mb, 1e6 * m.ms / n);
            std::fflush(stdout);
            table += fmt::format("{}\t{}\t{:.6g}\t{:.1f}\t{:.5g}\n", method.name, n, m.ms, m.mb, 1e6 * m.ms / n);
        }
    using Both = std::array<double, 2>;
    const Both ms = measured_in_child<Both>([&] {
                        const auto [full, sparse] = attention_ms(compared);
                        return std::vector<Both>{{full, sparse}};
                    }).at(0);
    fmt::print("\nattention forward at n = {}: full {:.1f} ms, sparse {:.2f} ms: {:.0f} times as fast ({})\n", compared,
               ms[0], ms[1], ms[0] / ms[1],
               ms[0] >= wanted * ms[1] ? "ok" : fmt::format("below the required {}", wanted));
    if (file.empty()) return;
    write_file_atomically(file, table);
    fmt::print("written to {}\n", file);
}

} // namespace fci
