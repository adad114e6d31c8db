// Rows of the op table: the ops of segment routers, the memory bank, InfoNCE, anchors and budgeted attention. See
// op_table.h.
#include <array>

#include "bench/op_rows_routing.h"
#include "tests/op_table.h"
#include "tests/reference/anchors.h"
#include "tests/reference/budget.h"
#include "tests/reference/dot_scores.h"
#include "tests/reference/memory_scores.h"
#include "tests/reference/replace_rows.h"
#include "tests/reference/segment_pool.h"
#include "tests/reference/set_cross_entropy.h"

namespace fci::test {

FCI_REFERENCES(segment_pool)
FCI_REFERENCES(set_cross_entropy)
FCI_REFERENCES(dot_scores)
FCI_REFERENCES(memory_scores)
FCI_REFERENCES(anchors)
FCI_REFERENCES(replace_rows)
FCI_REFERENCE(budget_bounds)
FCI_REFERENCE(budget_choose)
FCI_REFERENCE(budget_gram)
FCI_REFERENCE(budget_learn)

static const MoreRows rows_of_this_file([](std::vector<OpCase>& table) {
    for (const SegmentShape& s : {SegmentShape{1, 1, 1, 1}, {2, 12, 4, 3}, {3, 7, 1, 5}, {1, 5, 5, 2}, {2, 64, 16, 17}})
        for (const auto& [pool, name] : {std::pair{Pool::mean, "mean"}, {Pool::sum, "sum"}, {Pool::max, "max"}})
            table.push_back(segment_pool_op<OpCase>(s, pool, name));
    for (const DotShape& s : {DotShape{1, 1, 1, 1}, {2, 1, 7, 5}, {3, 4, 9, 3}, {1, 33, 40, 17}})
        table.push_back(dot_scores_op<OpCase>(s));
    for (const MemoryShape& s : {MemoryShape{1, 2, 1, 2}, {2, 7, 1, 5}, {3, 9, 4, 16}, {1, 33, 5, 64}, {2, 5, 3, 1}})
        table.push_back(memory_scores_op<OpCase>(s));
    for (const AnchorShape& s : {AnchorShape{1, 2, 3}, {5, 51, 8}, {7, 1, 5}, {33, 17, 16}})
        table.push_back(anchors_op<OpCase>(s));
    for (const GatherShape& s : {GatherShape{1, 1, 1, 1}, {2, 5, 3, 7}, {3, 9, 9, 5}, {1, 33, 16, 17}})
        table.push_back(replace_rows_op<OpCase>(s));
    for (const BudgetShape& s : {BudgetShape{1, 1, 1, 1}, {2, 5, 1, 3}, {1, 33, 1, 40}, {3, 17, 1, 64}})
        for (const auto& [low, high] : {std::pair{0.f, 1.f}, {-1.f, 0.f}}) // below 0, only theta . x remains
            table.push_back(budget_bounds_op<OpCase>(s, low, high));
    for (const BudgetShape& s :
         {BudgetShape{1, 1, 1, 1}, {3, 9, 9, 1}, {2, 31, 4, 1}, {2, 257, 256, 1}, {1, 1500, 7, 1}})
        for (const auto& [kind, fill] : {std::pair{"distinct", uniform(-1, 1)}, {"ties", with_ties}, {"NaN", with_nan}})
            table.push_back(budget_choose_op<OpCase>(s, kind, fill));
    for (const BudgetShape& s : {BudgetShape{1, 1, 1, 1}, {3, 9, 4, 5}, {2, 40, 33, 17}, {1, 7, 7, 34}})
        table.push_back(budget_gram_op<OpCase>(s));
    for (const BudgetLearnShape& s : {BudgetLearnShape{1, 1, 1}, {4, 3, 5}, {2, 1, 16}, {3, 2, 17}, {1, 5, 33}})
        for (int before : {0, 7}) table.push_back(budget_learn_op<OpCase>(s, before));
    for (const auto& [rows, classes, most] : {std::array{1, 1, 1}, {3, 2, 2}, {5, 17, 4}, {9, 17, 17}, {2, 129, 2}})
        for (const auto& [range, offset] : logits_to_try)
            table.push_back(set_cross_entropy_op<OpCase>({rows, classes}, most, range, offset));
});

} // namespace fci::test
