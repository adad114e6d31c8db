// The benchmark's table of ops is that of the steps it stands for, and its calls fit their buffers.
#include <cstring>
#include <map>

#include "bench/lane.h"
#include "tests/catch.h"
#include "train/losses.h"
#include "train/options.h"

using namespace fci;

namespace {

// How often a DER step of one sequence calls each op.
std::map<std::string, double> calls_in_step(const std::string& representation) {
    Options o;
    o.task.task = "der";
    o.model.representation = representation;
    resolve(o);
    const int length = o.task.length;
    ParameterBinder layout;
    const Model measure(layout, o.model, o.task.vocab, length);
    std::vector<float> data(layout.block_size(), 0.01f), grad(data.size(), 0.f);
    ParameterBinder binder(data.data(), grad.data());
    const Model model(binder, o.model, o.task.vocab, length);
    Arena arena;
    Tape tape(arena);
    std::vector<int32_t> zeros(length, 0);
    const IntTensor one{zeros.data(), {1, 1}};
    const Batch b{{zeros.data(), {1, length}}, one, one, one, {}};
    losses(tape, model(tape, b.tokens, b.query), b, 1.f, 1.f);
    std::map<std::string, double> calls;
    for (size_t i = 0; i < tape.size(); ++i) ++calls[tape.op(i)];
    return calls;
}

} // namespace

TEST_CASE("bench: the GPU's table has every call of the steps that it names", "[bench]") {
    const std::vector<BenchOp> table = bench_ops(Device::cuda, 2);
    for (size_t c = 0; c < std::size(op_steps); ++c) {
        INFO(op_steps[c]);
        std::map<std::string, double> listed;
        for (const BenchOp& o : table)
            if (o.name != "top_k" && o.name != "zero_gradients" && o.name != "update") // on no tape
                if (o.calls[c] > 0) listed[o.name] += o.calls[c];
        CHECK(listed == calls_in_step(op_steps[c]));
    }
}

TEST_CASE("bench: the calls of the table can be made, of one sequence and of several", "[bench]") {
    for (const int batch : {1, 3}) {
        const auto lane = make_lane(Device::cpu, batch);
        for (const BenchOp& o : bench_ops(Device::cpu, batch)) {
            INFO(o.name << " " << o.sizes);
            std::memset(lane->y[0], 0xff, sizeof(float)); // a NaN
            if (o.run_forward) o.run_forward(*lane);
            if (o.run_backward) o.run_backward(*lane);
            if (o.run_forward && o.name != "zero_gradients" && o.name != "top_k") CHECK(std::isfinite(lane->y[0][0]));
        }
    }
}
