// Chance: what a rule that never looks at the content reaches. A number means little without it.
#pragma once
#include "tasks/dataset.h"

namespace fci {

struct Chance {
    double at_k = 0, at_1 = 0; // percent of the test queries of which the best blind rule hits a right position
    double accuracy = 0;       // percent right of one who draws a value from those in the context
    bool relative = false;     // the rule for k: positions counted from the query, or from the start
    // Where several positions are right, else 0: all of them among the k, by the same rule; and the exact means over
    // all ways to draw k sentence starts, and k positions, of which some are right.
    double all = 0, drawn_starts = 0, drawn_positions = 0;
};

// The best content-blind rule fit on the training set: the k most frequent places of the answer (ties to the lower),
// absolute or relative to the query row's, whichever hits more of the training set; measured on the test set. A place
// is place_length positions: one, or a segment. Accuracy: der, one of the 1 + n_distractors values in pairs; mqar, one
// of the pairs' values (the label's share of them); other data, always the most frequent label.
//
// hotpotqa: a hit is any right place. There is a third rule, which knows where sentences start and no more: the k most
// frequent ordinals of supporting sentences (places with a start in them). And a fourth, which needs no fit: k places
// drawn from those with a start; of N such places, m of them right,
//   some hit 1 - C(N-m,k)/C(N,k)        all hit C(N-m,k-m)/C(N,k)        (N <= k: both 1)
// At_k, at_1 and all are each the highest of the best fitted rule and of the fourth, so that to recognise a sentence's
// start, or to have been trained on other data, is no skill.
Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length = 1);

} // namespace fci
