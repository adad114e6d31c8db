// Chance: the score of the best rule that never looks at the content. A result means little without it.
//
// A blind rule knows how the data are generated and the query row q. For data that fci generates its best score is
// exact:
//   at k   mean over q of the sum of the k largest P(place of the answer | q)             law_chance
// (6.75% for k = 4 on DER by default; 25% on MQAR's 16 pairs.) On other data, and where the law has no closed
// form, the best rule is fit on the training set and measured on the test set: fit_chance.
#pragma once
#include <cmath>
#include <optional>

#include "tasks/task.h"

namespace fci {

// Percent of routing from which on there is a transition: half way from chance to 100%. Infinite where chance is 100%.
inline double transition_at(double chance) { return chance < 100 ? (chance + 100) / 2 : INFINITY; }

struct Chance {
    double at_k = 0, at_1 = 0; // percent of the test queries for which the best blind rule hits a correct position
    double accuracy = 0;       // percent correct of a uniform guess among the values in the context
    bool relative = false;     // fitted, the rule for k: positions counted from the query, or from the start
    bool given_q = false;      // fitted, the rule for k: one for each q
    // Where several positions are correct, else 0: all of them among the k, by the same rule; and the exact means over
    // all ways to draw k sentence starts, and k positions, of which some are correct.
    double all = 0, drawn_starts = 0, drawn_positions = 0;
};

// Nothing for data that were read, for hotpotqa, and for mqar with many queries.
std::optional<AnswerLaw> answer_law(const TaskOptions& resolved);

// A place is place_length positions: one, or a segment.
std::optional<Chance> law_chance(const TaskOptions& resolved, int k, int place_length = 1);
// The same for bandits, which also know the answer's segment of `width` positions; k is 1.
std::optional<Chance> law_chance_within(const TaskOptions& resolved, int width);

// The best content-blind rule fit on the training set: the k most frequent places of the answer (ties to the lower),
// absolute or relative to the query row's, whichever hits more of the training set; or a rule for each q, if it does
// better than that one on each half of the training set when fit on the other. It takes the places of the highest
//   n(q,p) + 64 f(p)      n: answers at p of queries at q; f: the better rule's share of answers, absolute or relative
// i.e. it is smoothed by 64 more queries at q. Measured on the test set. Accuracy: the
// task's, or of other data always the most frequent label.
//
// hotpotqa: a hit is any correct place. The third rule is replaced by one that knows only where sentences start:
// the k most frequent ordinals of supporting sentences (places with a start in them). And a fourth, which needs no
// fit: k places drawn from those with a start; of N such places, m of them correct,
//   some hit 1 - C(N-m,k)/C(N,k)        all hit C(N-m,k-m)/C(N,k)        (N <= k: both 1)
// At_k, at_1 and all are each the higher of the best fitted rule's and the fourth's, so that recognising the start of a
// sentence, or training on other data, does not count as skill.
Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length = 1);

} // namespace fci
