// Chance: what a rule that never looks at the content reaches. A number means little without it.
#pragma once
#include "tasks/dataset.h"

namespace fci {

struct Chance {
    double at_k = 0, at_1 = 0; // percent of the test queries whose answer position the best blind rule hits
    double accuracy = 0;       // percent right of one who draws a value from those in the context
    bool relative = false;     // the rule for k: positions counted from the query, or from the start
};

// The best content-blind rule fit on the training set: the k most frequent places of the answer (ties to the lower),
// absolute or relative to the query row's, whichever hits more of the training set; measured on the test set. A place
// is place_length positions: one, or a segment. Accuracy: der, one of the 1 + n_distractors values in pairs; mqar, one
// of the pairs' values (the label's share of them); other data, always the most frequent label.
Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length = 1);

} // namespace fci
