// Measuring for both halves of the benchmark: all workers doing the same work at once, medians, and the limits.
#pragma once
#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "bench/rows.h"
#include "core/arena.h"
#include "core/gemm.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/tile.h"
#include "core/workers.h"

namespace fci {

struct Spread {
    double low = 0, median = 0, high = 0;
};
inline Spread spread(std::vector<double> x) {
    if (x.empty()) return {};
    std::sort(x.begin(), x.end());
    return {x.front(), x[x.size() / 2], x.back()};
}

inline Json json(const Spread& s, int digits) {
    const auto number = [&](double x) { return Json::number("{:.{}g}", x, digits); };
    return Json::object().add("min", number(s.low)).add("median", number(s.median)).add("max", number(s.high));
}

inline double now_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// All workers run the same work at once, so caches and bandwidth are shared as they are in a step.
class Team {
public:
    static constexpr int most_blocks = 32;

    explicit Team(int threads) : workers_(threads), start_(threads), times_(size_t{most_blocks} * threads) {
        use_one_blas_thread();
    }
    int count() const { return workers_.count(); }
    Workers& workers() { return workers_; }

    // Median seconds of one f(i), i = 0 .. count-1, over blocks of repeated calls; a block takes about block_seconds.
    template <class F>
    double seconds(const F& f, int blocks = 9, double block_seconds = 2e-3) {
        const double once = timed(f, 1, 3); // also warms the caches
        return timed(f, static_cast<int>(std::clamp(block_seconds / once, 1.0, 1e5)), blocks);
    }
    // The same for an f() that uses all workers itself.
    template <class F>
    double seconds_alone(const F& f, int blocks = 9) {
        f();
        for (int b = 0; b < blocks; ++b) {
            const double begin = now_seconds();
            f();
            times_[b] = now_seconds() - begin;
        }
        return median(blocks);
    }

private:
    template <class F>
    double timed(const F& f, int repeats, int blocks) {
        workers_.run(count(), [&](int i, int) {
            for (int b = 0; b < blocks; ++b) {
                start_.arrive_and_wait(); // waiting workers cannot take a second i, so each gets one
                const double begin = now_seconds();
                for (int r = 0; r < repeats; ++r) f(i);
                times_[i * blocks + b] = (now_seconds() - begin) / repeats;
            }
        });
        return median(blocks * count());
    }
    double median(int n) {
        std::nth_element(times_.begin(), times_.begin() + n / 2, times_.begin() + n);
        return times_[n / 2];
    }

    Workers workers_;
    std::barrier<> start_;
    std::vector<double> times_;
};

inline void fill_normal(float* x, int64_t n, uint64_t stream) {
    Rng rng(1, Stream::pattern, stream);
    for (int64_t i = 0; i < n; ++i) x[i] = rng.normal();
}

// Rates of all workers together: the peak of their multipliers, and products and copies of a layer's activations in
// cache.
class Rates {
public:
    explicit Rates(Team& team) : team_(team) {
        for (int w = 0; w < team.count(); ++w) {
            x_.push_back(arena_.floats(m * k)), weight_.push_back(arena_.floats(n * k)),
                y_.push_back(arena_.floats(m * n));
            fill_normal(x_[w], m * k, 2 * w);
            fill_normal(weight_[w], n * k, 2 * w + 1);
        }
    }
    double peak() { // GFLOP/s, in registers only
        constexpr int64_t rounds = 20000;
        const double s = team_.seconds([&](int i) { y_[i][0] = multiply_adds(rounds); });
        return 1e-9 * rounds * multiply_adds_a_round * team_.count() / s;
    }
    double sgemm() { // GFLOP/s
        const double s = team_.seconds(
            [&](int i) { gemm(Transpose::no, Transpose::yes, m, n, k, 1.f, x_[i], k, weight_[i], k, 0.f, y_[i], n); },
            25);
        return 2e-9 * m * n * k * team_.count() / s;
    }
    double cached_copy() { // GB/s, read and write
        const double s = team_.seconds([&](int i) { std::memcpy(y_[i], x_[i], m * k * sizeof(float)); });
        return 2e-9 * m * k * sizeof(float) * team_.count() / s;
    }

private:
    static constexpr int m = 512, n = 128, k = 128;
    Team& team_;
    Arena arena_;
    std::vector<float*> x_, weight_, y_;
};

// Runs a measurement in a separate process, so that its peak memory is its own and a crash costs one row. This process
// never starts a thread, so that it can be forked. Returns the bytes that f returns, throws what it throws.
std::string in_child(const std::function<std::string()>& f);

template <class T, class F>
std::vector<T> measured_in_child(const F& f) { // f returns a vector<T>
    static_assert(std::is_trivially_copyable_v<T>);
    const std::string bytes = in_child([&] {
        const std::vector<T> x = f();
        return std::string(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(T));
    });
    std::vector<T> x(bytes.size() / sizeof(T));
    std::memcpy(x.data(), bytes.data(), x.size() * sizeof(T));
    return x;
}

// A whole Trainer::step on real data.
struct StepNumbers {
    int steps = 0;
    Spread ms, cpu_ms, peak; // cpu: processor time of the worker with the most groups
    double gflop = 0, parameters = 0, mb = 0;
};
struct StepRow {
    std::string task, representation, error; // error: why there are no numbers
    StepNumbers n;
    double bound_ms = 0; // 0: none
    double gflops() const { return n.gflop / n.ms.median * 1e3; }
    double share() const { return gflops() / n.peak.median; }
    std::string verdict() const; // "": no bound
};

// Task and representation of the steps that the options select: without a representation all of `of_der`, and
// transformer:1 on the other tasks.
std::vector<std::pair<std::string, std::string>> wanted_steps(const BenchOptions&, std::span<const char* const> of_der);

StepRow measure_step(const std::string& task, const std::string& representation, int threads, int steps,
                     std::FILE* progress);
std::string explain_bounds();

} // namespace fci
