// The rows of the op table that fci bench times: for one sequence on the CPU, for the whole batch on a GPU. The GPU's
// rows also have calls on a few rows of numbers, whose cost on a CPU is negligible.
#include <cstring>

#include "bench/measure.h"
#include "bench/op_rows.h"
#include "nn/mamba.h"
#include "train/cpu_stepper.h"
#include "train/gpu.h"

namespace fci {
namespace {

constexpr int parameters = 560000; // about as many as transformer:1 and bidir-flow:1 have
constexpr int groups = CpuStepper::most_groups;

// Buffers whose values do not matter for the time.
float* zeros(Arena& arena, int64_t n) {
    float* p = arena.floats(n);
    set_zero(arena.device(), p, n * sizeof(float));
    return p;
}

// Zeroing the gradients of a step's activations, which far exceed a cache.
BenchOp zero_gradients(int rows, int d) {
    constexpr int units = 40;
    const int64_t unit = int64_t{rows} * d;
    BenchOp op("zero_gradients");
    op.sizes = fmt::format("{} x {}", rows, d);
    op.cost.forward.floats = static_cast<double>(unit);
    op.calls = {1, 19, 23, 1, 19, 23, 19, 19};
    const Buffer far = op.output("far", units * unit);
    op.forward = [=](DeviceMemory& m) { set_zero(m.device, m[far] + m.calls++ % units * unit, unit * sizeof(float)); };
    return op;
}

// Work that a GPU's step does once: the norm of the gradients, the log, AdamW.
BenchOp update(int batch) {
    constexpr int most_calls = 1024;
    BenchOp op("update");
    op.sizes = fmt::format("{:.2f} M", 1e-6 * parameters);
    op.cost.forward.floats = 9.0 * parameters;
    op.calls.fill(1);
    const auto room = [&](const char* what, size_t bytes) { return op.output(what, bytes / sizeof(float)); };
    const Buffer data = op.output("parameters", parameters), grad = op.output("gradient", parameters),
                 m1 = op.output("m", parameters), v = op.output("v", parameters), step = room("step", sizeof(GpuStep)),
                 log = room("log", sizeof(GpuLog));
    const IndexBuffer hits = op.index_output("hits", 4 * batch);
    const auto schedule = std::make_shared<std::vector<AdamWRates>>(most_calls, AdamW(0).rates(1, {1e-4, 0.9}));
    op.forward = [=](DeviceMemory& m) {
        const AdamWRates* rates = constant(m.device, schedule->data(), schedule->size());
        const GpuUpdate u{parameters, m[data], m[grad], m[m1], m[v], nullptr, 1.0, rates};
        const GpuCount count{batch, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr, m[hits]};
        cuda::finish_step(u, {}, count, reinterpret_cast<GpuStep*>(m[step]), reinterpret_cast<GpuLog*>(m[log]), 1);
    };
    return op;
}

// Work that a CPU's step does once, over all parameters.
struct Update {
    Arena arena;
    float *data = zeros(arena, parameters), *grads = zeros(arena, int64_t{groups} * parameters);
    std::vector<float*> blocks;
    std::vector<double> partial = std::vector<double>(slices(parameters));
    AdamW optimiser{parameters};
    int64_t step = 0;

    Update() {
        std::fill_n(data, parameters, 0.1f);
        std::fill_n(grads, int64_t{groups} * parameters, 1e-3f);
        for (int g = 0; g < groups; ++g) blocks.push_back(grads + int64_t{g} * parameters);
    }
    void zero_groups(Workers& workers) {
        workers.run(groups, [&](int g, int) { std::memset(blocks[g], 0, parameters * sizeof(float)); });
    }
    void sum_and_norm(Workers& workers) { fci::sum_and_norm(blocks, parameters, partial, workers); }
    void adamw(Workers& workers) { optimiser.step(++step, {1e-4, 0.9}, 1.f, blocks[0], data, workers); }
};
BenchOp once(const char* name, int blocks, double passes, void (Update::*f)(Workers&)) {
    BenchOp op(name);
    const std::string block = fmt::format("{:.2f} M", 1e-6 * parameters);
    op.sizes = blocks == 1 ? block : fmt::format("{} x {}", blocks, block);
    op.cost.forward.floats = passes * parameters;
    op.calls = {0.65, 1, 1}; // raw has two thirds of the parameters
    op.once = [f](Team& team) {
        Update u;
        return team.seconds_alone([&] { (u.*f)(team.workers()); });
    };
    return op;
}

// Counts the calls on the tapes of op_steps.
void count_calls(std::vector<BenchOp>& ops, int batch) {
    for (size_t c = 0; c < std::size(op_steps); ++c) {
        Options o;
        o.task.task = "der", o.model.representation = op_steps[c];
        resolve(o);
        for (const Tape::Call& call : calls_of_step(o, batch))
            for (BenchOp& op : ops)
                if (op.name == call.op && op.cost == call.cost) ++op.calls[c];
    }
}

std::vector<void (*)(BenchTable&)>& more() {
    static std::vector<void (*)(BenchTable&)> all;
    return all;
}

} // namespace

MoreBenchOps::MoreBenchOps(void (*add)(BenchTable&)) { more().push_back(add); }

void BenchTable::add(BenchOp op, std::string sizes) {
    op.name = op.name.substr(0, op.name.find(' '));
    op.sizes = std::move(sizes);
    rows.push_back(std::move(op));
}

DeviceMemory::DeviceMemory(const OpFields& op, Device on, uint64_t seed) : device(on), arena_(on) {
    constexpr int64_t drawn = 1 << 18; // then the same values repeat
    std::vector<float> host;
    for (const Field& f : op.fields) {
        Rng rng(seed, Stream::pattern, data_.size());
        data_.push_back(zeros(arena_, f.size));
        gradient_.push_back(zeros(arena_, f.size));
        if (f.role == Role::saved) continue;
        host.resize(f.size);
        for (int64_t i = 0; i < f.size; ++i)
            host[i] = i >= drawn ? host[i - drawn] : f.role == Role::input ? f.fill(rng) : rng.uniform(-1, 1);
        copy_in(device, f.role == Role::input ? data_.back() : gradient_.back(), host.data(), f.size * sizeof(float));
    }
    std::vector<int32_t> ids;
    for (const IndexField& f : op.index_fields) {
        Rng rng(seed, Stream::pattern, 1000 + index_.size());
        ids.assign(f.size, 0);
        if (f.role == Role::input) f.fill(rng, ids.data());
        index_.push_back(arena_.array<int32_t>(f.size));
        copy_in(device, index_.back(), ids.data(), f.size * sizeof(int32_t));
    }
}

std::vector<BenchOp> bench_ops(Device device, int batch) {
    const ModelOptions model;
    constexpr int L = BenchTable::length, vocab = 256, states = Mamba::state, hubs = 16;
    const int d = model.d_model, heads = model.heads, d_head = d / heads, k = model.top_k, rows = 2 * k;
    const int inner = Mamba::expand * d, rank = d / 16, bL = batch * L;
    BenchTable table{batch, {}};
    std::vector<BenchOp>& t = table.rows;
    const auto add = [&](BenchOp op, std::string sizes) { table.add(std::move(op), std::move(sizes)); };
    const auto by = [](auto m, auto n) { return fmt::format("{} x {}", m, n); };
    const auto linear = [&](int n, int in, int out, Bias bias = Bias::yes) { // n rows per sequence
        add(linear_op<BenchOp>({batch * n, in, out}, bias), fmt::format("{} x {} -> {}", batch * n, in, out));
    };
    const auto layer_norm = [&](int n) { add(layer_norm_op<BenchOp>({batch * n, d}, 3), by(batch * n, d)); };
    const auto residual_norm = [&](int n) { add(residual_norm_op<BenchOp>({batch * n, d}), by(batch * n, d)); };
    const auto gelu = [&](int n) {
        add(unary_op<BenchOp>(FCI_POINTWISE(gelu, batch * n * 4 * d), uniform(-3, 3)), by(batch * n, 4 * d));
    };
    const auto residual = [&](int n) {
        add(binary_op<BenchOp>(FCI_POINTWISE(residual, batch * n * d)), by(batch * n, d));
    };
    const auto embedding = [&](int n, int of, Positions positions) {
        add(embedding_op<BenchOp>({batch, n, d}, of, positions),
            by(batch * n, d) + (positions == Positions::yes ? "" : ", no positions"));
    };
    const auto gather = [&](int n) {
        add(gather_op<BenchOp>({batch, L, n, d}), fmt::format("{} rows of {}", batch * n, d));
    };
    const auto self_attention = [&](bool causal) {
        add(self_attention_op<BenchOp>(batch, L, heads, d_head, causal),
            fmt::format("{} x {}, {} heads{}", L, L, heads, causal ? ", c." : ""));
    };
    const auto query_attention = [&](int queries, int keys) {
        add(query_attention_op<BenchOp>(batch, queries, keys, heads, d_head),
            fmt::format("{} x {}, {} heads", queries, keys, heads));
    };
    const auto cross_entropy = [&](int classes) {
        add(cross_entropy_op<BenchOp>({batch, classes}, 3), by(batch, classes));
    };
    const std::string row_by_length = fmt::format("{} row{} x {}", batch, batch == 1 ? "" : "s", L);

    embedding(L, vocab, Positions::yes);
    layer_norm(L);
    residual_norm(L);
    add(rms_norm_op<BenchOp>({bL, d}, 3, Weight::yes), by(bL, d));
    for (const int out : {3 * d, d, 4 * d}) linear(L, d, out);
    linear(L, 4 * d, d);
    for (const bool causal : {false, true}) self_attention(causal);
    gelu(L);
    residual(L);
    linear(L, d, inner, Bias::no); // Mamba's
    for (const int out : {rank + 2 * states, d}) linear(L, inner, out, Bias::no);
    add(selective_scan_op<BenchOp>({batch, L, inner, states, false}), fmt::format("{} x {} x {}", bL, inner, states));
    add(routing_scores_op<BenchOp>({batch, L, 1, d, heads}), row_by_length);
    add(rank1_scores_op<BenchOp>({batch, L, 1, d}), row_by_length);
    add(top_k_op<BenchOp>({batch, L, k}, uniform(-1, 1)), fmt::format("{} x {}, k {}", batch, L, k));
    gather(rows);
    linear(rows, d, 2 * d); // the Council's
    for (const int out : {d, 4 * d}) linear(1, d, out);
    linear(1, 4 * d, d);
    query_attention(1, rows);
    linear(1, d, vocab); // the head
    cross_entropy(L);
    for (const auto add_more : more()) add_more(table);
    t.push_back(zero_gradients(bL, d));
    if (device == Device::cuda) {
        layer_norm(rows); // the Council's and the head's
        layer_norm(1);
        residual_norm(1);
        residual(1);
        gelu(1);
        gather(1);
        cross_entropy(vocab);
        embedding(L, vocab, Positions::no);   // content-only's
        embedding(hubs, hubs, Positions::no); // the perceiver's
        linear(L, d, 2 * d);
        linear(hubs, d, d);
        linear(hubs, d, 2 * d);
        residual(hubs);
        query_attention(hubs, L);
        query_attention(L, hubs);
        t.push_back(update(batch));
    } else {
        t.push_back(once("zero_groups", groups, groups, &Update::zero_groups));
        t.push_back(once("sum_and_norm", groups, groups + 1, &Update::sum_and_norm));
        t.push_back(once("adamw", 1, 7, &Update::adamw));
    }
    count_calls(t, batch);
    return std::move(table.rows);
}

} // namespace fci
