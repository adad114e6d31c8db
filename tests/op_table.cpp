// The rows of the op table: sizes, and the ops' references. See op_table.h.
#include "tests/op_table.h"

#include <array>

#include "bench/op_rows.h"
#include "tests/reference/attention.h"
#include "tests/reference/cross_entropy.h"
#include "tests/reference/embedding.h"
#include "tests/reference/gather.h"
#include "tests/reference/layer_norm.h"
#include "tests/reference/linear.h"
#include "tests/reference/pointwise.h"
#include "tests/reference/rank1_scores.h"
#include "tests/reference/rms_norm.h"
#include "tests/reference/routing_scores.h"
#include "tests/reference/selective_scan.h"
#include "tests/reference/top_k.h"

namespace fci::test {

FCI_REFERENCES(linear)
FCI_REFERENCES(embedding)
FCI_REFERENCES(layer_norm)
FCI_REFERENCES(residual_norm)
FCI_REFERENCES(rms_norm)
FCI_REFERENCES(gelu)
FCI_REFERENCES(softplus)
FCI_REFERENCES(negative_exp)
FCI_REFERENCES(elu_plus_one)
FCI_REFERENCES(gate)
FCI_REFERENCES(residual)
FCI_REFERENCES(selective_scan)
FCI_REFERENCES(attention)
FCI_REFERENCES(routing_scores)
FCI_REFERENCES(rank1_scores)
FCI_REFERENCE(top_k_forward)
FCI_REFERENCES(gather)
FCI_REFERENCES(cross_entropy)

namespace {

std::vector<void (*)(std::vector<OpCase>&)>& more() {
    static std::vector<void (*)(std::vector<OpCase>&)> all;
    return all;
}

std::vector<OpCase> make_table() {
    std::vector<OpCase> table;
    constexpr int linears[][3] = {{1, 1, 1},   {1, 7, 5},    {2, 3, 9},     {4, 17, 33}, {5, 16, 1},
                                  {5, 31, 6},  {63, 65, 13}, {33, 128, 96}, {3, 300, 5}, {4, 6, 300},
                                  {512, 5, 3}, {513, 6, 4},  {600, 36, 130}};
    for (const auto& [rows, in, out] : linears) // on a GPU, up to 512 rows count as few
        for (Bias bias : {Bias::yes, Bias::no}) table.push_back(linear_op<OpCase>({rows, in, out}, bias));
    for (const EmbeddingShape& s : {EmbeddingShape{1, 1, 1}, {3, 5, 7}, {2, 33, 16}, {2, 150, 3}, {1, 9, 131}})
        for (Positions positions : {Positions::yes, Positions::no})
            table.push_back(embedding_op<OpCase>(s, 6, positions));
    // The norm of 1 or 2 numbers has a gradient of 0 up to eps: only rounding errors, nothing to compare.
    for (const NormShape& s : {NormShape{3, 37}, {1, 3}, {5, 16}, {1, 17}, {2, 129}, {257, 5}}) {
        table.push_back(residual_norm_op<OpCase>(s));
        for (float range : {3.f, 0.01f}) { // at 0.01, eps matters
            table.push_back(layer_norm_op<OpCase>(s, range));
            table.push_back(rms_norm_op<OpCase>(s, range, Weight::yes));
            table.push_back(rms_norm_op<OpCase>({s.rows, s.d, 1e-20f}, range, Weight::no)); // rows of length sqrt(d)
        }
    }
    for (int n : {1, 15, 16, 17, 1001}) {
        table.push_back(unary_op<OpCase>(FCI_POINTWISE(gelu, n), uniform(-6, 6)));
        table.push_back(unary_op<OpCase>(FCI_POINTWISE(softplus, n), uniform(-30, 30)));
        table.push_back(unary_op<OpCase>(FCI_POINTWISE(negative_exp, n), uniform(-5, 3)));
        table.push_back(unary_op<OpCase>(FCI_POINTWISE(elu_plus_one, n), uniform(-5, 3)));
        table.push_back(binary_op<OpCase>(FCI_POINTWISE(gate, n)));
        table.push_back(binary_op<OpCase>(FCI_POINTWISE(residual, n)));
    }
    for (bool reverse : {false, true}) {
        const int chunk = ScanShape::chunk;
        for (const auto& [batch, time, channels, states] : {std::array{2, chunk + 1, 3, 5},
                                                            {1, 1, 1, 1},
                                                            {2, 2, 1, 3},
                                                            {1, chunk - 1, 7, 4},
                                                            {2, chunk, 16, 1},
                                                            {1, 2 * chunk - 1, 17, 16},
                                                            {1, 2 * chunk + 1, 33, 3},
                                                            {1, 3 * chunk, 2, 2},
                                                            {2, chunk + 1, 5, 33}})
            table.push_back(selective_scan_op<OpCase>({batch, time, channels, states, reverse}));
    }
    const int block = AttentionShape::rows, tile = AttentionShape::tile;
    for (bool causal : {false, true}) {
        for (int time : {5, 1, 2, 4, 33}) table.push_back(self_attention_op<OpCase>(2, time, 2, 3, causal));
        for (int time : {block - 1, block, block + 1, tile - 1, tile, tile + 1, 2 * tile + 1})
            table.push_back(self_attention_op<OpCase>(1, time, 1, 4, causal));
        for (int d_head : {1, 15, 16, 17, 33}) table.push_back(self_attention_op<OpCase>(1, 7, 2, d_head, causal));
        for (int d_head : {32, 33}) // on a GPU, narrow and wide heads have different kernels
            table.push_back(self_attention_op<OpCase>(1, 2 * tile + 7, 2, d_head, causal));
    }
    for (int time : {1, 3, tile + 1}) table.push_back(grouped_attention_op<OpCase>(time, 6, 3, 5));
    table.push_back(grouped_attention_op<OpCase>(40, 4, 2, 33));
    for (int keys : {1, 2, 7, tile + 1}) table.push_back(query_attention_op<OpCase>(2, 1, keys, 2, 5));
    table.push_back(query_attention_op<OpCase>(1, 3, 5, 3, 2));
    table.push_back(query_attention_op<OpCase>(2, block + 1, tile + 1, 2, 5));
    table.push_back(query_attention_op<OpCase>(1, 2 * block + 1, 3, 1, 2));
    // Eight times as many on one side as on the other, and more than "few" queries.
    for (int d_head : {5, 33}) {
        table.push_back(query_attention_op<OpCase>(2, 5, 3 * tile + 5, 2, d_head));
        table.push_back(query_attention_op<OpCase>(1, 2 * tile + 6, 5, 2, d_head));
        table.push_back(query_attention_op<OpCase>(1, 37, 8 * 37 + 3, 1, d_head));
    }
    for (const RoutingShape& s :
         {RoutingShape{1, 1, 1, 1, 1}, {2, 7, 1, 6, 3}, {3, 5, 2, 8, 4}, {1, 9, 5, 4, 2}, {2, 17, 9, 6, 1}})
        table.push_back(routing_scores_op<OpCase>(s));
    for (const Rank1Shape& s : {Rank1Shape{1, 1, 1, 1}, {2, 7, 1, 5}, {3, 9, 4, 3}, {1, 33, 40, 17}})
        table.push_back(rank1_scores_op<OpCase>(s));
    for (const TopKShape& s : {TopKShape{1, 1, 1}, {3, 2, 1}, {2, 9, 9}, {5, 31, 4}, {2, 129, 64}})
        for (const Fill& fill : {uniform(-1, 1), with_ties, with_nan}) table.push_back(top_k_op<OpCase>(s, fill));
    for (const GatherShape& s : {GatherShape{1, 1, 1, 1}, {2, 5, 3, 7}, {3, 4, 9, 5}, {1, 33, 2, 17}, {2, 3, 260, 3}})
        table.push_back(gather_op<OpCase>(s));
    for (const CrossEntropyShape& s : {CrossEntropyShape{1, 1}, {3, 2}, {5, 17}, {2, 129}})
        for (const auto& [range, offset] : logits_to_try) table.push_back(cross_entropy_op<OpCase>(s, range, offset));
    for (const auto add : more()) add(table);
    return table;
}

} // namespace

MoreRows::MoreRows(void (*add)(std::vector<OpCase>&)) { more().push_back(add); }

const std::vector<OpCase>& op_table() {
    static const std::vector<OpCase> table = make_table();
    return table;
}

} // namespace fci::test
