// Rows of the op table: the ops that mix positions by other means than full attention and the scan. See op_table.h.
#include <array>

#include "bench/op_rows.h"
#include "bench/op_rows_mixing.h"
#include "tests/op_table.h"
#include "tests/reference/attention.h"
#include "tests/reference/causal_conv1d.h"
#include "tests/reference/fourier.h"
#include "tests/reference/gated_scan.h"
#include "tests/reference/linear_attention.h"
#include "tests/reference/rotary.h"
#include "tests/reference/sparse_attention.h"

namespace fci::test {

FCI_REFERENCES(attention)
FCI_REFERENCES(sparse_attention)
FCI_REFERENCES(linear_attention)
FCI_REFERENCES(fourier)
FCI_REFERENCES(causal_conv1d)
FCI_REFERENCES(gated_scan)
FCI_REFERENCE(rotary_forward)

static const MoreRows rows_of_this_file([](std::vector<OpCase>& table) {
    const int tile = AttentionShape::tile, reach = SparseShape::reach, rows = SparseShape::rows;
    for (const auto& [batch, time, heads, d_head] :
         {std::array{1, 1, 1, 1}, {2, 5, 3, 4}, {1, AttentionShape::rows + 1, 1, 17}, {1, tile + 1, 2, 5}})
        table.push_back(rank1_attention_op<OpCase>(batch, time, heads, d_head));

    for (int time : {1, 2, reach - 1, reach, reach + 1, 2 * reach - 1, 2 * reach, 2 * reach + 1, 3 * rows + 1, 70})
        table.push_back(sparse_attention_op<OpCase>(1, time, 1, 3, global_positions(time, time)));
    for (int d_head : {1, 15, 16, 17, 33})
        table.push_back(sparse_attention_op<OpCase>(1, 37, 2, d_head, global_positions(37, d_head)));
    table.push_back(sparse_attention_op<OpCase>(2, 41, 3, 2, {7}));
    table.push_back(sparse_attention_op<OpCase>(1, 41, 1, 2, {}));
    // At the ends, adjacent, and on both edges of row 32's window.
    table.push_back(sparse_attention_op<OpCase>(2, 67, 1, 4, {0, 15, 16, 17, 47, 48, 66}));

    for (const LinearAttentionShape& s :
         {LinearAttentionShape{1, 1, 1, 1}, {2, 2, 1, 3}, {2, 7, 3, 5}, {1, 33, 2, 16}, {1, 5, 1, 17}, {1, 70, 1, 33}})
        table.push_back(linear_attention_op<OpCase>(s));

    for (const FourierShape& s :
         {FourierShape{1, 1, 1}, {2, 2, 3}, {1, 3, 2}, {2, 7, 5}, {1, 8, 16}, {1, 17, 17}, {1, 12, 33}})
        table.push_back(fourier_op<OpCase>(s));

    // Adjacent heads, heads within a joint projection, and heads between others; rotating whole heads, a part, or
    // nothing.
    for (const RotaryShape& s : {RotaryShape{1, 1, 1, 2, 2, 2, 2},
                                 {2, 3, 2, 7, 4, 7, 14},
                                 {1, 5, 3, 16, 16, 48, 144},
                                 {2, 17, 2, 33, 32, 35, 71},
                                 {1, 2, 1, 5, 0, 5, 5}})
        table.push_back(rotary_op<OpCase>(s));

    const std::vector<Reversed> one{{false}, {true}}, all{{false}, {true}, {false, true}, {true, true}};
    for (const ConvShape& s : {ConvShape{1, 1, 1, 1}, {2, 1, 3, 4}, {2, 3, 5, 4}, {1, 4, 16, 4}, {3, 33, 17, 4}})
        for (const Reversed& r : all) table.push_back(causal_conv1d_op<OpCase>(s, r));
    for (const ConvShape& s : {ConvShape{1, 7, 2, 9}, {2, 257, 3, 2}, {1, 66, 33, 4}})
        for (const Reversed& r : one) {
            table.push_back(causal_conv1d_op<OpCase>(s, r));
            Calls &forward = table.back().forward, &backward = table.back().backward;
            forward.has_twin = backward.has_twin = s.width <= 4; // on a GPU a filter has up to 4 taps
        }

    const int chunk = ScanShape::chunk;
    for (const GatedScanShape& s : {GatedScanShape{2, chunk + 1, 3, 5, 2}, {1, 1, 1, 1, 1}, {2, 2, 1, 3, 4}})
        for (const Reversed& r : all) table.push_back(gated_scan_op<OpCase>(s, r));
    for (const GatedScanShape& s : {GatedScanShape{1, chunk - 1, 7, 4, 3},
                                    {2, chunk, 16, 1, 1},
                                    {1, 2 * chunk - 1, 17, 16, 8},
                                    {1, 2 * chunk + 1, 33, 3, 5},
                                    {1, 3 * chunk, 2, 2, 19},
                                    {2, chunk + 1, 5, 33, 2}})
        for (const Reversed& r : one) table.push_back(gated_scan_op<OpCase>(s, r));
    table.push_back(gated_scan_op<OpCase>({2, chunk + 3, 34, 16, 4}, {false, true}));
});

} // namespace fci::test
