// What fci bench times: the rows of the op table at the sizes of a DER step, and what a step does besides the ops.
#pragma once
#include <array>
#include <memory>

#include "bench/op_table.h"

namespace fci {

class Team;

// The buffers of a row on a device: inputs filled, everything else zero.
class DeviceMemory {
public:
    DeviceMemory(const OpFields&, Device, uint64_t seed);

    const Device device;
    int calls = 0; // for a row to count
    float* operator[](Buffer b) { return b.id < 0 ? nullptr : data_[b.id]; }
    int32_t* operator[](IndexBuffer b) { return b.id < 0 ? nullptr : index_[b.id]; }
    float* grad(Buffer b) { return b.id < 0 ? nullptr : gradient_[b.id]; }

private:
    Arena arena_;
    std::vector<float*> data_, gradient_;
    std::vector<int32_t*> index_;
};

// The steps for which the calls of each op are counted, at the options' defaults; the CPU's table shows the first
// three.
inline constexpr const char* op_steps[] = {"raw",          "transformer:1",        "bidir-flow:1",
                                           "content-only", "causal-transformer:1", "flow:2",
                                           "perceiver:16", "sparse-transformer:1"};

struct BenchOp : OpFields {
    using OpFields::OpFields;
    using Run = std::function<void(DeviceMemory&)>;

    std::string sizes;
    std::array<double, std::size(op_steps)> calls{}; // a sequence (once, or on a GPU: a step) of each of op_steps
    Run forward, backward;                           // empty: there is none
    std::function<double(Team&)> once;               // seconds of what runs once a step, on all workers, instead
    struct {                                         // nodes are the tests'
        template <class F>
        void operator=(const F&) {}
    } node;

    template <auto on_cpu, class F>
    static Run calls_of(Twin<on_cpu> twin, F call) {
        return [=](DeviceMemory& m) { call(m, on(m.device, on_cpu, twin.cuda)); };
    }
};

// For the CPU one sequence, for a GPU the whole batch.
std::vector<BenchOp> bench_ops(Device, int batch);

// Rows at the sizes of a DER step.
struct BenchTable {
    static constexpr int length = 512;
    int batch;
    std::vector<BenchOp> rows;
    void add(BenchOp, std::string sizes); // under the first word of its name
};
// Those of a file that nothing else names: static const MoreBenchOps rows([](BenchTable& table) { .. });
struct MoreBenchOps {
    explicit MoreBenchOps(void (*add)(BenchTable&));
};

} // namespace fci
