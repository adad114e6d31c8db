// The work that fci bench times: rows of the op table at the sizes of a DER step, and the other work of a step.
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
    int calls = 0; // counter for a row's use
    float* operator[](Buffer b) { return b.id < 0 ? nullptr : data_[b.id]; }
    int32_t* operator[](IndexBuffer b) { return b.id < 0 ? nullptr : index_[b.id]; }
    float* grad(Buffer b) { return b.id < 0 ? nullptr : gradient_[b.id]; }

private:
    Arena arena_;
    std::vector<float*> data_, gradient_;
    std::vector<int32_t*> index_;
};

// The steps for which the calls of each op are counted, with default options; the CPU's table shows the first three.
inline constexpr const char* op_steps[] = {"raw",          "transformer:1",        "bidir-flow:1",
                                           "content-only", "causal-transformer:1", "flow:2",
                                           "perceiver:16", "sparse-transformer:1"};

struct BenchOp : OpFields {
    using OpFields::OpFields;
    using Run = std::function<void(DeviceMemory&)>;

    std::string sizes;
    std::array<double, std::size(op_steps)> calls{}; // per sequence (once, or on a GPU: per step) in each of op_steps
    Run forward, backward;                           // empty: none
    std::function<double(Team&)> once;               // instead: seconds of work done once per step, on all workers
    struct {                                         // only the tests use nodes
        template <class F>
        void operator=(const F&) {}
    } node;

    template <auto on_cpu, class F>
    static Run calls_of(Twin<on_cpu> twin, F call) {
        return [=](DeviceMemory& m) { call(m, on(m.device, on_cpu, twin.cuda)); };
    }
};

// Rows for one sequence on the CPU, for the whole batch on a GPU.
std::vector<BenchOp> bench_ops(Device, int batch);

// Rows at the sizes of a DER step.
struct BenchTable {
    static constexpr int length = 512;
    int batch;
    std::vector<BenchOp> rows;
    void add(BenchOp, std::string sizes); // named by the first word of its name
};
// Rows of a file that nothing else names: static const MoreBenchOps rows([](BenchTable& table) { .. });
struct MoreBenchOps {
    explicit MoreBenchOps(void (*add)(BenchTable&));
};

} // namespace fci
