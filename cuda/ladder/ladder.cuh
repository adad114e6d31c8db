// ladder: kernels step by step, from the naive one to the shipped one. A ladder is one operation at one size with its
// inputs, the CPU op's results and a list of steps; each step computes the same results. The harness checks every step
// against the CPU op (on the emulator, as a test, at a small size) and measures it on a GPU (`make ladder`):
//
//   step             what it adds                                          time      share of the limit
//
// The limit is the best that the GPU can do: the longer of bytes / measured copy bandwidth and flops / measured rate of
// fused multiply-adds. bytes: every input read once, every result written once.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/rng.h"

namespace fci::cuda {

struct Limits {
    double bytes_per_s = 0, flops_per_s = 0;
};

class Ladder {
public:
    struct Step {
        std::string name, adds;
        std::function<void()> launch;
    };

    Ladder(std::string what, double flops) : what_(std::move(what)), flops_(flops) {}

    // Uniform random numbers on the host, always the same for the same ladder.
    std::vector<float> random(size_t n, float low = -1, float high = 1);
    // The same numbers on the device.
    float* input(const std::vector<float>& host);
    // A result on the device: the CPU op's values, and the number of terms in its longest sum. Before each step the
    // result is set to NaN or, if added_to, to zero.
    float* result(const char* name, std::vector<float> expected, int terms, bool added_to = false);
    float* scratch(size_t n);
    void step(const char* name, const char* adds, std::function<void()> launch) {
        steps_.push_back({name, adds, std::move(launch)});
    }

    // Runs a step and compares: "" or what is wrong. Sums of n terms in any order differ by at most about n eps of the
    // largest result; the op table checks the shipped kernels more strictly.
    std::string check(const Step&);
    const std::vector<Step>& steps() const { return steps_; }
    const std::string& what() const { return what_; }
    double bytes() const { return bytes_; }
    double flops() const { return flops_; }

private:
    struct Buffer {
        explicit Buffer(size_t n);
        ~Buffer();
        Buffer(const Buffer&) = delete;
        float* data;
        size_t size;
    };
    struct Result {
        const char* name;
        float* data;
        std::vector<float> expected;
        int terms;
        bool added_to;
    };
    void clear();

    std::string what_;
    double bytes_ = 0, flops_;
    std::deque<Buffer> buffers_;
    std::vector<Result> results_;
    std::vector<Step> steps_;
    uint64_t drawn_ = 0;
};

// The GPU's limits; zeros on the emulator.
Limits measure_limits();
double seconds(const std::function<void()>& launch); // per call: the best of three rounds of at least 20 ms

// What launch() does, with that --precision.
void in_precision(Precision, const std::function<void()>& launch);

// The ladders, at the size of the distant-evidence task (batch 32, length 512, width 128) or at a tiny one.
void add_column_sum(std::deque<Ladder>&, bool tiny);
void add_product(std::deque<Ladder>&, bool tiny);
void add_attention_forward(std::deque<Ladder>&, bool tiny);
void add_attention_backward(std::deque<Ladder>&, bool tiny);
void add_selective_scan_forward(std::deque<Ladder>&, bool tiny);
void add_selective_scan_backward(std::deque<Ladder>&, bool tiny);
inline void add_ladders(std::deque<Ladder>& ladders, bool tiny) {
    add_column_sum(ladders, tiny);
    add_product(ladders, tiny);
    add_attention_forward(ladders, tiny);
    add_attention_backward(ladders, tiny);
    add_selective_scan_forward(ladders, tiny);
    add_selective_scan_backward(ladders, tiny);
}

// What tensor cores add up (tensor_cores.cu); all pointers are the device's.
// c (16,32) = A B^T, A (16,depth), B (32,depth), by one warp: by fused multiply-adds; on tensor cores as cuda/mma.cuh
// does it; or in 3xTF32 with one accumulator for everything, which is wrong.
enum class WarpProduct { fp32, fp16x3, tf32x3, tf32, one_accumulator };
void warp_product(WarpProduct, int depth, const float* a, const float* b, float* c);
// One instruction for each of `sets` warps: a (sets,32,4), b (sets,32,2), d (sets,32,4), fragments by lane.
void multiply_fragments(bool half, int sets, const uint32_t* a, const uint32_t* b, float* d);

} // namespace fci::cuda
