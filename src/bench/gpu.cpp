// fci bench --device cuda: each op, each step and each run on a GPU, against its own limits measured in the same
// process.
//   copy      of 1 GiB within the device's memory, read and write counted
//   products  of 8192x8192x8192, by cuBLAS in fp32, or in TF32 with --precision tf32
// An op's limit is the larger of bytes/copy and flops/products. Its bytes go from memory to memory, since its operands
// are not in a cache when it starts. In a step some are. So the sum of the limits of a step's ops is the time the step
// would take if each op ran at its limit and nothing stayed in a cache. A step is the trainer's: a replayed graph.
#include "bench/gpu.h"
#include "bench/bench.h"
#include "bench/measure.h"
#include "core/device.h"
#include "ops/linear.h"
#include "train/losses.h"
#include "train/progress.h"
#include "train/provenance.h"
#include "train/trainer.h"

namespace fci {
namespace {

constexpr double giga = 1e-9;

// Milliseconds of a call: the median of a few after a first one that allocates memory.
template <class F>
Spread ms_of(const F& f, int n = 11) {
    const auto call = [](void* with) { (*static_cast<const F*>(with))(); };
    void* with = const_cast<F*>(&f);
    std::vector<float> ms(n);
    cuda::time_calls(call, with, 2, ms.data());
    cuda::time_calls(call, with, n, ms.data());
    return spread({ms.begin(), ms.end()});
}

struct GpuLimits {
    Spread copy, products; // bytes and flops per second, times 1e-9
};

Spread rate(double amount, Spread ms) {
    const auto of = [&](double t) { return giga * amount / (1e-3 * t); };
    return {of(ms.high), of(ms.median), of(ms.low)};
}

GpuLimits measure_limits() {
    Arena memory(Device::cuda);
    GpuLimits l;
    {
        constexpr size_t bytes = size_t{1} << 30;
        void *to = memory.bytes(bytes), *from = memory.bytes(bytes);
        set_zero(Device::cuda, from, bytes);
        l.copy = rate(2.0 * bytes, ms_of([&] { cuda::copy(to, from, bytes); }));
    }
    memory.reset();
    constexpr int n = 8192;
    constexpr int64_t size = int64_t{n} * n;
    float *x = memory.floats(size), *w = memory.floats(size), *y = memory.floats(size);
    std::vector<float> host(size);
    for (int64_t i = 0; i < size; ++i) host[i] = static_cast<float>(i % 251) * 1e-3f;
    copy_in(Device::cuda, x, host.data(), size * sizeof(float));
    copy_in(Device::cuda, w, host.data(), size * sizeof(float));
    l.products = rate(2.0 * n * size, ms_of([&] { cuda::linear_forward({n, n, n}, x, w, nullptr, y); }));
    return l;
}

// An op in one direction. limit_ms: its time at the limit that binds.
struct Timed {
    double ms = 0, limit_ms = 0;
    double share() const { return ms > 0 ? limit_ms / ms : 0; }
};
struct OpRow {
    BenchOp op;
    Timed forward, backward;
};

Timed timed(const GpuLimits& l, const Cost& cost, double ms) {
    const double copy = giga * 4 * cost.floats / l.copy.median, products = giga * cost.flops() / l.products.median;
    return {ms, 1e3 * std::max(copy, products)};
}

std::vector<OpRow> measure_ops(const GpuLimits& limits, int batch, std::FILE* out) {
    Progress progress(out);
    std::vector<OpRow> rows;
    for (const BenchOp& o : bench_ops(Device::cuda, batch)) {
        progress.status(fmt::format("{} {}", o.name, o.sizes));
        OpRow row{o, {}, {}};
        DeviceMemory memory(o, Device::cuda, 1);
        row.forward = timed(limits, o.cost.forward, ms_of([&] { o.forward(memory); }).median);
        if (o.backward) row.backward = timed(limits, o.cost.backward, ms_of([&] { o.backward(memory); }).median);
        rows.push_back(std::move(row));
    }
    return rows;
}

// A step of the trainer, and the sums over its ops.
struct GpuStepRow {
    std::string task, representation, error;
    int steps = 0;
    Spread ms;
    double gflop = 0, parameters = 0, limit_ms = 0, ops_ms = 0; // of its ops, if their calls are known
    double run_steps = 0, run_seconds = 0;                      // of a whole run; seconds: with --runs
    double extrapolated() const { return 1e-3 * ms.median * run_steps; }
    double share() const { return limit_ms / ms.median; }
};

Options step_options(const std::string& task, const std::string& representation, int threads) {
    Options o;
    o.task.task = task;
    o.model.representation = representation;
    o.run.threads = threads;
    o.run.device = "cuda";
    return o;
}

constexpr int block = 250; // steps per epoch in the paper; the host reads the log after each epoch

void time_steps(GpuStepRow& row, int threads, int steps) {
    Options o = step_options(row.task, row.representation, threads);
    row.run_steps = static_cast<double>(o.train.sequences / o.train.batch) * o.train.epochs;
    o.train.sequences = block * o.train.batch, o.train.test_sequences = 8;
    o.train.epochs = steps ? steps / block + 3 : 200; // one block per epoch
    resolve(o);
    Trainer trainer(make_data(o));
    const auto ms_a_step = [&] {
        const double begin = now_seconds();
        const auto made = trainer.advance(trainer.steps_done() + block);
        return 1e3 * (now_seconds() - begin) / static_cast<double>(made.size());
    };
    for (int i = 0; i < 2; ++i) ms_a_step(); // allocates memory, makes the graph
    const int blocks =
        steps ? std::max(1, steps / block) : static_cast<int>(std::clamp(2000 / (block * ms_a_step()), 5.0, 100.0));
    std::vector<double> ms;
    for (int i = 0; i < blocks; ++i) ms.push_back(ms_a_step());
    row.steps = blocks * block;
    row.ms = spread(ms);
    row.gflop = trainer.options().train.batch * sequence_gflop(trainer.options());
    row.parameters = static_cast<double>(trainer.parameter_count());
}

// A whole run as in the paper: all its steps, and its test set after each epoch.
void time_run(GpuStepRow& row, int threads) {
    Options o = step_options(row.task, row.representation, threads);
    resolve(o);
    TrainerData data = make_data(o);
    const double begin = now_seconds();
    Trainer trainer(std::move(data));
    while (trainer.steps_done() < trainer.steps_total()) {
        trainer.advance(trainer.steps_total());
        if (trainer.steps_done() % trainer.steps_per_epoch() == 0) trainer.evaluate();
    }
    row.run_seconds = now_seconds() - begin;
}

GpuStepRow measure_step(const std::string& task, const std::string& representation, const BenchOptions& b, int threads,
                        const std::vector<OpRow>& ops) {
    GpuStepRow row;
    row.task = task, row.representation = representation;
    try {
        time_steps(row, threads, b.steps);
        if (b.runs) time_run(row, threads);
    } catch (const Error& e) {
        row.error = e.what();
        return row;
    }
    for (size_t c = 0; task == "der" && c < std::size(op_steps); ++c) // ops have the sizes of a DER step
        for (const OpRow& r : ops)
            if (representation == op_steps[c]) {
                row.limit_ms += r.op.calls[c] * (r.forward.limit_ms + r.backward.limit_ms);
                row.ops_ms += r.op.calls[c] * (r.forward.ms + r.backward.ms);
            }
    return row;
}

void print_limits(std::FILE* out, const GpuLimits& l, const std::string& precision) {
    fmt::print(out, "{}\n\n{:<46}{:>8}{:>8}{:>8}\n", cuda::describe_gpu(), "limits", "min", "median", "max");
    const auto limit = [&](const std::string& name, const Spread& s) {
        fmt::print(out, "{:<46}{:>8.0f}{:>8.0f}{:>8.0f}\n", name, s.low, s.median, s.high);
    };
    limit("GB/s     copy of 1 GiB, read + write", l.copy);
    limit(fmt::format("GFLOP/s  product 8192x8192x8192, {}", precision == "tf32" ? "TF32" : "fp32"), l.products);
}

std::string cell(const Timed& t, const Cost& cost) {
    if (t.ms == 0) return fmt::format("{:>30}", "");
    const double flops = giga * cost.flops() / (1e-3 * t.ms), bytes = giga * 4 * cost.floats / (1e-3 * t.ms);
    return fmt::format("{:>10.1f}{:>8}{:>7.0f}{:>4.0f}%", 1e3 * t.ms, flops > 0 ? fmt::format("{:.0f}", flops) : "-",
                       bytes, 100 * t.share());
}

void print_ops(std::FILE* out, const std::vector<OpRow>& rows, int batch) {
    fmt::print(
        out,
        "\nOps at the sizes of a DER step, batch {}, operands not in a cache. us: one call; GF/s, GB/s: analytic;\n"
        "lim: share of the limit that binds, copy or products.\n\n",
        batch);
    fmt::print(out, "{:<17}{:<26}{:>10}{:>8}{:>7}{:>5}{:>10}{:>8}{:>7}{:>5}\n", "op", "sizes", "forward us", "GF/s",
               "GB/s", "lim", "backward", "GF/s", "GB/s", "lim");
    for (const OpRow& r : rows)
        fmt::print(out, "{:<17}{:<26}{}{}\n", r.op.name, r.op.sizes, cell(r.forward, r.op.cost.forward),
                   cell(r.backward, r.op.cost.backward));
}

void print_step(std::FILE* out, const GpuStepRow& r) {
    fmt::print(out, "{:<9}{:<21}", r.task, r.representation);
    if (!r.error.empty()) return fmt::print(out, "failed: {}\n", r.error);
    const auto known = [&](double x, const char* unit) { return x > 0 ? fmt::format("{:.2f}{}", x, unit) : ""; };
    fmt::print(out, "{:>8.3f}{:>8.3f}{:>8.3f}{:>7}{:>8}{:>8}{:>6}{:>8.0f}{:>9.1f}{:>9}\n", r.ms.low, r.ms.median,
               r.ms.high, r.steps, known(r.ops_ms, ""), known(r.limit_ms, ""),
               r.limit_ms > 0 ? fmt::format("{:.0f}%", 100 * r.share()) : "", r.gflop / r.ms.median * 1e3,
               r.extrapolated(), known(r.run_seconds, ""));
    std::fflush(out);
}

Json json(const Spread& s) { return json(s, 5); }
Json json(const Timed& t, const Cost& cost) {
    if (t.ms == 0) return Json::raw("null");
    return Json::object()
        .add("us", Json::number("{:.5g}", 1e3 * t.ms))
        .add("flops", Json::number("{:.0f}", cost.flops()))
        .add("bytes", Json::number("{:.0f}", 4 * cost.floats))
        .add("limit_us", Json::number("{:.5g}", 1e3 * t.limit_ms))
        .add("share_of_limit", Json::number("{:.4g}", t.share()));
}
Json json(const OpRow& r) {
    Json calls = Json::object();
    for (size_t c = 0; c < std::size(op_steps); ++c)
        if (r.op.calls[c] > 0) calls.add(op_steps[c], Json::number("{:g}", r.op.calls[c]));
    return Json::object()
        .add("op", r.op.name)
        .add("sizes", r.op.sizes)
        .add("forward", json(r.forward, r.op.cost.forward))
        .add("backward", json(r.backward, r.op.cost.backward))
        .add("calls", calls);
}
Json json(const GpuStepRow& r) {
    Json j = Json::object().add("task", r.task).add("representation", r.representation);
    if (!r.error.empty()) return j.add("error", r.error);
    j.add("steps", r.steps).add("ms", json(r.ms)).add("gflop", Json::number("{:.5g}", r.gflop));
    j.add("parameters", Json::number("{:.0f}", r.parameters)).add("run_steps", Json::number("{:.0f}", r.run_steps));
    j.add("run_seconds_extrapolated", Json::number("{:.5g}", r.extrapolated()));
    if (r.limit_ms > 0) {
        j.add("ops_ms", Json::number("{:.5g}", r.ops_ms)).add("limit_ms", Json::number("{:.5g}", r.limit_ms));
        j.add("share_of_limit", Json::number("{:.4g}", r.share()));
    }
    if (r.run_seconds > 0) j.add("run_seconds", Json::number("{:.5g}", r.run_seconds));
    return j;
}

} // namespace

void run_gpu_bench(const BenchOptions& b) {
    const Gpu gpu = find_gpu();
    if (!gpu.present) fail(Exit::usage, "bench --device cuda: {}. Without a GPU leave --device out", gpu.why);
    if (gpu.emulated) fail(Exit::usage, "bench --device cuda: this is the {}, whose times mean nothing", gpu.name);
    cuda::set_precision(precision_named(b.precision));
    const int threads = b.threads ? b.threads : Workers::available(), batch = TrainOptions{}.batch;
    std::FILE* out = b.json ? stderr : stdout;
    const GpuLimits limits = measure_limits();
    print_limits(out, limits, b.precision);
    const std::vector<OpRow> ops = measure_ops(limits, batch, out);
    if (b.representation.empty()) print_ops(out, ops, batch);

    fmt::print(
        out,
        "\nSteps of batch {}: replays of a graph, in blocks of {}; min, median and max of the blocks. ops: sum of its "
        "ops\nabove; limit: sum of their limits; lim: limit/median; run s: seconds of the steps of the paper's "
        "run{}.\n\n",
        batch, block, b.runs ? "; took: seconds of a whole run with its evaluations" : "");
    fmt::print(out, "{:<9}{:<21}{:>8}{:>8}{:>8}{:>7}{:>8}{:>8}{:>6}{:>8}{:>9}{:>9}\n", "task", "representation",
               "min ms", "median", "max", "steps", "ops", "limit", "lim", "GF/s", "run s", b.runs ? "took" : "");
    std::vector<GpuStepRow> steps;
    size_t failed = 0;
    for (const auto& [task, representation] : wanted_steps(b, op_steps)) {
        steps.push_back(measure_step(task, representation, b, threads, ops));
        print_step(out, steps.back());
        failed += !steps.back().error.empty();
    }
    if (b.json) {
        Json all = Json::object(), where = Json::object(), ops_json = Json::array(), steps_json = Json::array();
        where.add("gpu", cuda::describe_gpu());
        for (const auto& [name, value] : provenance()) where.add(name, value);
        for (const OpRow& r : ops) ops_json.push(json(r));
        for (const GpuStepRow& r : steps) steps_json.push(json(r));
        all.add("device", "cuda").add("precision", b.precision).add("copy_gbs", json(limits.copy));
        all.add("product_gflops", json(limits.products));
        fmt::print("{}\n", all.add("ops", ops_json).add("steps", steps_json).add("provenance", where).text());
    }
    if (failed) fail(Exit::internal, "bench: {} of {} steps could not be measured", failed, steps.size());
}

} // namespace fci
