// Verdicts: what a number of ours says about the paper's. Given at the paper's scale only.
//
// Our number is measured in the final test (train/data.h), of older results on the test set of the epochs. Its interval
// is over seeds and sampling: all n seeds share one set of m queries, so
//   half width^2 = (t s / sqrt n)^2 + z^2 p (1 - p) / m,   p = (hits + 2) / (m + 4)
// with s the standard deviation over seeds, t Student's and z the normal point of 90% or 95%, two-sided [Student 1908;
// Agresti & Coull 1998]. One seed, or a quantity that is no percentage: the part that there is.
//
// A number is the paper's if it lies in the band: of x or ~x within margin() of it; of a bound or a range, in it.
//
//   not run          we have no number
//   untested         a control of the row fails (study/controls.h): its numbers say nothing
//   tie              the score is made by the order of equal scores alone: in the final test this order decides for 2%
//                    of the queries or more, and for all but 2% of those whose answer scores as high as the last
//                    position chosen. E.g. six equal candidates, or a mean, which is the same at all positions
//   some seeds       some seeds converge (routing ends half way from chance to 100%, or above) and some do not: the
//                    share that does, with Wilson's interval [1927], takes the mean's place
//   at chance, both  ours: the 90% interval within 3 points of our chance; the paper's within 3 points of its own
//   reproduced       the 90% interval lies in the band
//   differs          the 95% interval lies outside it; or a transition that the paper has comes in no seed
//   inconclusive     neither
//
// The first that applies counts. With fewer than 3 seeds it is provisional, `some seeds` with fewer than 5.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fci {

// The quantities that rows may have, in the order they are shown in: routing, accuracy, transition_epoch, ...
const std::vector<std::string>& quantities();

// "98.4", "~98.4", "<=2.5", ">130", "9-29"
struct PaperValue {
    double low = 0, high = 0; // infinite on the open side of a bound
    bool exact = true;        // x or ~x, else a bound or a range
};
std::optional<PaperValue> parse_paper(const std::string& text); // nothing: not of this notation

// A quantity over seeds.
struct Summary {
    int seeds = 0;                                        // that have a value; 0: not run
    int without = 0;                                      // seeds that ran and have none: no transition
    double mean = 0, sd = 0, half_width = 0, half_90 = 0; // half_width: of the 95% interval
    std::optional<double> chance, paper_chance;
    std::optional<int> converged; // seeds that did; nothing: does not apply
    bool tie = false;             // made by ties alone
    bool tested = true;           // the row's controls hold
    std::vector<double> values;   // of the seeds that have one

    int ran() const { return seeds + without; }
};
// queries: of the test set, if the values are percentages of them; else 0
Summary summarise(const std::vector<double>& values, double queries);

std::pair<double, double> wilson(int n, int of); // the 95% interval of a share, in percent

enum class Verdict { reproduced, differs, inconclusive, at_chance, tie, some_seeds, untested, not_run };
const char* name(Verdict);
// Percent of the queries whose answer is chosen in any order of equal scores, and of those where the order decides.
bool by_ties_alone(double strict, double ties);
// How far from x a quantity is still the same number: 2 points (accuracy: 5) or epochs, 0.05 of a cosine, else 25%.
double margin(const std::string& quantity, double x);
Verdict judge(const std::string& quantity, const PaperValue&, const Summary&);
bool provisional(Verdict, const Summary&);
std::string verdict_text(Verdict, const Summary&); // "differs", "provisional: differs"

} // namespace fci
