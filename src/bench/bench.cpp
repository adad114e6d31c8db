#include "bench/bench.h"

#include <unistd.h>

#include "bench/measure.h"
#include "model/fci.h"
#include "train/options.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {
namespace {

// An op in one direction: one call on one worker, then the rate of all workers together, and their share of the limit.
struct Timed {
    double us = 0, gflops = 0, gbs = 0, share = 0;
};
struct OpRow {
    const BenchOp* op;
    Timed forward, backward;
    double step_ms[3]; // time of its calls in a step of each of op_steps
};

struct Limits {
    Spread peak, sgemm, cached, copy;
};

// GB/s of all workers together between buffers far larger than the caches, `samples` times.
std::vector<double> copy_rates(Team& team, int samples) {
    double bytes = 256 << 20; // of all buffers together
#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = std::clamp(2.0 * static_cast<double>(sysconf(_SC_LEVEL3_CACHE_SIZE)), bytes, 1024.0 * (1 << 20));
#endif
    const auto size = static_cast<size_t>(bytes / 2 / team.count() / 64) * 64;
    Arena arena;
    std::vector<char*> from, to;
    for (int i = 0; i < team.count(); ++i) {
        from.push_back(arena.array<char>(size)), to.push_back(arena.array<char>(size));
        std::memset(from[i], 1, size);
    }
    std::vector<double> rates;
    for (int s = 0; s < samples; ++s) {
        const double seconds = team.seconds([&](int i) { std::memcpy(to[i], from[i], size); }, 3);
        rates.push_back(2e-9 * static_cast<double>(size) * team.count() / seconds);
    }
    return rates;
}

// Forward and backward seconds of each op in turn; between() is called repeatedly in between.
std::vector<double> time_ops(Team& team, const std::vector<BenchOp>& ops,
                             const std::function<void(const BenchOp&)>& between) {
    std::vector<double> seconds;
    for (const BenchOp& o : ops) {
        between(o);
        if (o.once) {
            seconds.insert(seconds.end(), {o.once(team), 0});
            continue;
        }
        std::vector<std::unique_ptr<DeviceMemory>> memory; // one per worker
        for (int w = 0; w < team.count(); ++w) memory.push_back(std::make_unique<DeviceMemory>(o, Device::cpu, w));
        for (const auto& run : {o.forward, o.backward}) // backward reads what forward saved
            seconds.push_back(run ? team.seconds([&](int i) { run(*memory[i]); }) : 0);
    }
    return seconds;
}

// Measures the limits and, in between, the ops.
Limits measure_ops(const std::vector<BenchOp>& ops, int threads, int batch, std::FILE* out, std::vector<OpRow>& rows) {
    Limits limits;
    std::vector<double> seconds = measured_in_child<double>([&] {
        Progress progress(out);
        Team team(threads);
        Rates rates(team);
        std::vector<double> copy = copy_rates(team, 3), peak, sgemm, cached;
        const auto sample = [&] {
            peak.push_back(rates.peak()), sgemm.push_back(rates.sgemm()), cached.push_back(rates.cached_copy());
        };
        for (int i = 0; i < 3; ++i) sample();
        size_t at = 0;
        std::vector<double> x = time_ops(team, ops, [&](const BenchOp& o) {
            if (++at % 8 == 0) sample();
            progress.status(fmt::format("op {} of {}: {} {}", at, ops.size(), o.name, o.sizes));
        });
        for (const double rate : copy_rates(team, 3)) copy.push_back(rate);
        for (const Spread& s : {spread(peak), spread(sgemm), spread(cached), spread(copy)})
            x.insert(x.end(), {s.low, s.median, s.high});
        return x;
    });
    for (Spread* s : {&limits.copy, &limits.cached, &limits.sgemm, &limits.peak}) { // read from the end
        const double* last = &seconds.at(seconds.size() - 3);
        *s = {last[0], last[1], last[2]};
        seconds.resize(seconds.size() - 3);
    }
    for (size_t i = 0; i < ops.size(); ++i) {
        const BenchOp& o = ops[i];
        const int at_once = o.once ? 1 : threads;
        const auto timed = [&](const Cost& cost, double s) {
            if (s == 0) return Timed{};
            Timed t{1e6 * s, 1e-9 * at_once * cost.flops() / s, 4e-9 * at_once * cost.floats / s};
            t.share = std::max(t.gflops / limits.peak.median, t.gbs / (o.once ? limits.copy : limits.cached).median);
            return t;
        };
        const double forward = seconds[2 * i], backward = seconds[2 * i + 1];
        OpRow row{&o, timed(o.cost.forward, forward), timed(o.cost.backward, backward), {}};
        const double sequences = o.once ? 1 : static_cast<double>(batch) / threads; // of one worker
        for (int c = 0; c < 3; ++c) row.step_ms[c] = 1e3 * o.calls[c] * sequences * (forward + backward);
        rows.push_back(row);
    }
    return limits;
}

std::string cell(const Timed& t) {
    if (t.us == 0) return fmt::format("{:>27}", "");
    const std::string flops = t.gflops > 0 ? fmt::format("{:.{}f}", t.gflops, t.gflops < 10 ? 1 : 0) : "-";
    return fmt::format("{:>9.{}f}{:>7}{:>6.{}f}{:>4.0f}%", t.us, t.us < 10 ? 2 : 1, flops, t.gbs, t.gbs < 100 ? 1 : 0,
                       100 * t.share);
}

void print_ops(std::FILE* out, const std::vector<OpRow>& rows, int threads, int batch) {
    fmt::print(
        out,
        "\nOps at the sizes of a DER step, one sequence per worker, {} at once. us: one call; GF/s, GB/s: of all "
        "together, analytic.\n"
        "lim: share of the limit that binds, peak or copy in cache (once a step: in memory); over 100%: a "
        "shape faster than the\n"
        "copy's. ms: all calls in a step of {}, forward and backward, in r: raw, t: transformer:1, f: "
        "bidir-flow:1.\n\n",
        threads, batch);
    fmt::print(out, "{:<39}{:>27}{:>27}\n", "", "forward ------------------", "backward -----------------");
    fmt::print(out, "{:<17}{:<22}{:>9}{:>7}{:>6}{:>5}{:>9}{:>7}{:>6}{:>5}{:>7}{:>7}{:>7}\n", "op", "sizes", "us",
               "GF/s", "GB/s", "lim", "us", "GF/s", "GB/s", "lim", "ms r", "ms t", "ms f");
    double sum[3]{};
    for (const OpRow& r : rows) {
        fmt::print(out, "{:<17}{:<22}{}{}", r.op->name, r.op->sizes, cell(r.forward), cell(r.backward));
        for (int c = 0; c < 3; ++c) {
            fmt::print(out, "{:>7}", r.step_ms[c] > 0 ? fmt::format("{:.2f}", r.step_ms[c]) : "");
            sum[c] += r.step_ms[c];
        }
        fmt::print(out, "\n");
    }
    fmt::print(out, "{:<93}{:>7.1f}{:>7.1f}{:>7.1f}\n",
               "sum; a step takes longer, since its operands are in farther caches", sum[0], sum[1], sum[2]);
}

void print_step(std::FILE* out, const StepRow& r) {
    fmt::print(out, "{:<9}{:<21}", r.task, r.representation);
    if (!r.error.empty()) return fmt::print(out, "failed: {}\n", r.error);
    const StepNumbers& n = r.n;
    fmt::print(out, "{:>7.1f}{:>7.1f}{:>7.1f}{:>7.1f}{:>6}{:>7.2f}{:>6.0f}{:>6.0f}{:>5.0f}%{:>8.0f}{:>6.0f}{:>7} {}\n",
               n.ms.low, n.ms.median, n.ms.high, n.cpu_ms.median, n.steps, n.gflop, r.gflops(), n.peak.median,
               100 * r.share(), n.parameters, n.mb, r.bound_ms > 0 ? fmt::format("{:.1f}", r.bound_ms) : "",
               r.verdict());
    std::fflush(out);
}

Json json(const Spread& s) { return json(s, 4); }
Json json(const Timed& t, const Cost& cost) {
    if (t.us == 0) return Json::raw("null");
    return Json::object()
        .add("us", Json::number("{:.5g}", t.us))
        .add("flops", Json::number("{:.0f}", cost.flops()))
        .add("bytes", Json::number("{:.0f}", 4 * cost.floats))
        .add("gflops", Json::number("{:.4g}", t.gflops))
        .add("gbs", Json::number("{:.4g}", t.gbs))
        .add("share_of_limit", Json::number("{:.4g}", t.share));
}
Json json(const OpRow& r) {
    Json in_step = Json::object();
    for (int c = 0; c < 3; ++c) in_step.add(op_steps[c], Json::number("{:.4g}", r.step_ms[c]));
    return Json::object()
        .add("op", r.op->name)
        .add("sizes", r.op->sizes)
        .add("forward", json(r.forward, r.op->cost.forward))
        .add("backward", json(r.backward, r.op->cost.backward))
        .add("ms_in_step", in_step);
}
Json json(const StepRow& r) {
    const StepNumbers& n = r.n;
    Json j = Json::object().add("task", r.task).add("representation", r.representation);
    if (!r.error.empty()) return j.add("error", r.error);
    j.add("steps", n.steps).add("ms", json(n.ms)).add("cpu_ms", json(n.cpu_ms));
    j.add("gflop", Json::number("{:.5g}", n.gflop)).add("gflops", Json::number("{:.4g}", r.gflops()));
    j.add("peak_gflops", json(n.peak)).add("share_of_peak", Json::number("{:.4g}", r.share()));
    j.add("parameters", Json::number("{:.0f}", n.parameters)).add("peak_rss_mb", Json::number("{:.1f}", n.mb));
    if (r.bound_ms > 0) j.add("bound_ms", Json::number("{:.5g}", r.bound_ms));
    if (!r.verdict().empty()) j.add("verdict", r.verdict());
    return j;
}

} // namespace

void run_bench(const BenchOptions& b) {
    if (b.scaling) return run_scaling(b.out);
    if (!b.representation.empty()) Mixing{b.representation};
    if (b.device == "cuda") return run_gpu_bench(b);
    if (b.precision != "fp32")
        fail(Exit::usage, "--precision {} is for products on a GPU: add --device cuda, or leave it out", b.precision);
    const int threads = b.threads ? b.threads : Workers::available(), batch = TrainOptions{}.batch;
    std::FILE* out = b.json ? stderr : stdout;
    const std::vector<BenchOp> ops = b.representation.empty() ? bench_ops(Device::cpu, 1) : std::vector<BenchOp>{};
    std::vector<OpRow> op_rows;
    const Limits limits = measure_ops(ops, threads, batch, out, op_rows);
    const auto source = provenance();
    const auto of = [&](const std::string& key) {
        for (const auto& [name, value] : source)
            if (name == key) return value;
        return std::string();
    };
    fmt::print(out, "{}, {} worker{}, OpenBLAS kernels {}\n\n", of("cpu"), threads, threads == 1 ? "" : "s",
               of("blas_core"));
    fmt::print(out, "{:<46}{:>8}{:>8}{:>8}\n", "limits, all workers at once", "min", "median", "max");
    const auto limit = [&](const char* name, const Spread& s) {
        fmt::print(out, "{:<46}{:>8.1f}{:>8.1f}{:>8.1f}\n", name, s.low, s.median, s.high);
    };
    limit("GFLOP/s  peak: multiply-adds in registers", limits.peak);
    limit("GFLOP/s  product 512x128x128", limits.sgemm);
    limit("GB/s     copy of 512x128 in cache, read + write", limits.cached);
    limit("GB/s     copy in memory, read + write", limits.copy);
    if (!ops.empty()) print_ops(out, op_rows, threads, batch);

    constexpr const char* of_der[] = {
        "raw",          "content-only", "transformer:1",        "causal-transformer:1", "flow:2",   "bidir-flow:1",
        "perceiver:16", "perceiver:1",  "sparse-transformer:1", "linear-attention:1",   "fourier:1"};
    fmt::print(out,
               "\nSteps of batch {}: forward, backward, update. cpu: processor time of one worker; GFLOP: products, "
               "convolution, scan;\n"
               "peak: median of the GFLOP/s before, during and after; MB: peak resident memory.\n{}\n\n",
               batch, explain_bounds());
    fmt::print(out, "{:<9}{:<21}{:>7}{:>7}{:>7}{:>7}{:>6}{:>7}{:>6}{:>6}{:>6}{:>8}{:>6}{:>7}\n", "task",
               "representation", "min ms", "median", "max", "cpu", "steps", "GFLOP", "GF/s", "peak", "share", "params",
               "MB", "bound");
    std::vector<StepRow> steps;
    size_t failed = 0;
    for (const auto& [task, representation] : wanted_steps(b, of_der)) {
        steps.push_back(measure_step(task, representation, threads, b.steps, out));
        print_step(out, steps.back());
        failed += !steps.back().error.empty();
    }
    if (b.json) {
        Json all = Json::object(), where = Json::object(), ops_json = Json::array(), steps_json = Json::array();
        for (const auto& [name, value] : source) where.add(name, value);
        for (const OpRow& r : op_rows) ops_json.push(json(r));
        for (const StepRow& r : steps) steps_json.push(json(r));
        all.add("threads", threads).add("peak_gflops", json(limits.peak)).add("product_gflops", json(limits.sgemm));
        all.add("cached_copy_gbs", json(limits.cached)).add("copy_gbs", json(limits.copy));
        fmt::print("{}\n", all.add("ops", ops_json).add("steps", steps_json).add("provenance", where).text());
    }
    if (failed) fail(Exit::internal, "bench: {} of {} steps could not be measured", failed, steps.size());
}

} // namespace fci
