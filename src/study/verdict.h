// Verdicts: what our number says about the paper's. They are given at the paper's scale only.
//
// Our number comes from the final test (train/data.h), for older results from the epochs' test set. Its interval covers
// seeds and sampling: all n seeds share one set of m queries, so
//   half width^2 = (t s / sqrt n)^2 + z^2 p (1 - p) / m,   p = (hits + 2) / (m + 4)
// with s the standard deviation over seeds, t Student's and z the normal point of 90% or 95%, two-sided [Student 1908;
// Agresti & Coull 1998]. One seed has no first term, a quantity that is not a percentage no second term.
//
// A number agrees with the paper's if it lies in the band: for x or ~x, within margin() of it; for a bound or a range,
// inside it.
//
//   not run          we have no number
//   untested         a control of the row fails (study/controls.h), so its numbers say nothing
//   tie              the order of equal scores alone makes the score: in the final test this order decides for 2% of
//                    the queries or more, and for all but 2% of those whose answer scores as high as the last position
//                    chosen. E.g. six equal candidates, or a mean, which is the same at all positions
//   some seeds       some seeds converge (final routing is halfway from chance to 100%, or above) and some do not: the
//                    share that does, with Wilson's interval [1927], is shown instead of the mean
//   at chance, both  ours: the 90% interval lies within 3 points of our chance; the paper's within 3 points of its own
//   reproduced       the 90% interval lies in the band
//   differs          the 95% interval lies outside the band; or no seed has a transition that the paper has
//   inconclusive     neither
//
// The first that applies counts. A verdict is provisional with fewer than 3 seeds, `some seeds` with fewer than 5.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fci {

// The quantities that rows may have, in the order in which they are shown: routing, accuracy, transition_epoch, ...
const std::vector<std::string>& quantities();

// "98.4", "~98.4", "<=2.5", ">130", "9-29"
struct PaperValue {
    double low = 0, high = 0; // infinite at the open end of a bound
    bool exact = true;        // x or ~x, else a bound or a range
};
std::optional<PaperValue> parse_paper(const std::string& text); // nothing: not in this notation

// A quantity over seeds.
struct Summary {
    int seeds = 0;                                        // seeds that have a value; 0: not run
    int without = 0;                                      // seeds that ran but have no value: no transition
    double mean = 0, sd = 0, half_width = 0, half_90 = 0; // half_width: of the 95% interval
    std::optional<double> chance, paper_chance;
    std::optional<int> converged; // seeds that converged; nothing: does not apply
    bool tie = false;             // caused by ties alone
    bool tested = true;           // the row's controls hold
    std::vector<double> values;   // of the seeds that have a value

    int ran() const { return seeds + without; }
};
// queries: number in the test set, if the values are percentages of them; else 0
Summary summarise(const std::vector<double>& values, double queries);

std::pair<double, double> wilson(int n, int of); // the 95% interval of a share, in percent

enum class Verdict { reproduced, differs, inconclusive, at_chance, tie, some_seeds, untested, not_run };
const char* name(Verdict);
// Is the score caused by ties alone? strict: percent of the queries whose answer is chosen in any order of equal
// scores; ties: percent of the queries for which that order decides.
bool by_ties_alone(double strict, double ties);
// How far from x a quantity still counts as the same number: 2 points (accuracy: 5) or epochs, 0.05 of a cosine, else
// 25%.
double margin(const std::string& quantity, double x);
Verdict judge(const std::string& quantity, const PaperValue&, const Summary&);
bool provisional(Verdict, const Summary&);
std::string verdict_text(Verdict, const Summary&); // "differs", "provisional: differs"

} // namespace fci
