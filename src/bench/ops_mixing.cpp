// Rows that fci bench times: ops that mix positions in other ways than full attention and the scan.
#include "bench/op_rows_mixing.h"
#include "bench/rows.h"
#include "model/options.h"
#include "nn/mamba.h"

namespace fci {

static const MoreBenchOps rows_of_this_file([](BenchTable& table) {
    const ModelOptions model;
    constexpr int L = BenchTable::length, states = Mamba::state;
    const int batch = table.batch, bL = batch * L, d = model.d_model, heads = model.heads, d_head = d / heads;
    const int inner = Mamba::expand * d, rank = d / 16;
    const auto scans = [&](const auto& of_one, const auto& sizes) { // in two directions of time, and in one
        for (const Reversed& reversed : {Reversed{false, true}, Reversed{false}})
            table.add(of_one(reversed), fmt::format("{} x {}", reversed.size(), sizes));
    };
    scans(
        [&](const Reversed& r) {
            return causal_conv1d_op<BenchOp>({batch, L, inner, Mamba::conv_width}, r);
        },
        fmt::format("{} x {}, width {}", bL, inner, int{Mamba::conv_width}));
    scans(
        [&](const Reversed& r) {
            return gated_scan_op<BenchOp>({batch, L, inner, states, rank}, r);
        },
        fmt::format("{} x {} x {}", bL, inner, states));
    const std::vector<int32_t> global = global_positions(L, model.seed);
    table.add(
        sparse_attention_op<BenchOp>(batch, L, heads, d_head, global),
        fmt::format("{} x {}, {} heads", bL, SparseShape::rows + 2 * SparseShape::reach - 1 + global.size(), heads));
    table.add(linear_attention_op<BenchOp>({batch, L, heads, d_head}), fmt::format("{}, {} heads", bL, heads));
    table.add(fourier_op<BenchOp>({batch, L, d}), fmt::format("{} x {}", bL, d));
});

} // namespace fci
