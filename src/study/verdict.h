// Verdicts: what a number of ours says about the paper's. Given at the paper's scale only.
//
//   reproduced   percentages: within 2 points of the paper's, or the paper's is inside our 95% interval where that is
//                narrower than +-5; a bound or a range: our mean is in it. Ranks and dimensions: within 25%. Cosines:
//                within 0.05. The transition: within 2 epochs.
//   same regime  percentages: both above 95%, or both within 3 points of chance
//   differs      anything else
//   not run      we have no number
//
// The interval is over seeds and test sampling. All n seeds share one test set of m queries, so
//   half width^2 = (t(n-1) s / sqrt n)^2 + (1.96)^2 p (1 - p) / m,   p = (hits + 2) / (m + 4)
// with s the standard deviation over seeds, t Student's 97.5% point [Student 1908; Agresti & Coull 1998]. One seed: the
// second part alone.
#pragma once
#include <optional>
#include <string>
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
struct Ours {
    int seeds = 0;   // that have a value; 0: not run
    int without = 0; // seeds that ran and have none: no transition
    double mean = 0, sd = 0, half_width = 0;
    std::optional<double> chance;
};
// queries: of the test set, if the values are percentages of them; else 0
Ours summarise(const std::vector<double>& values, double queries);

enum class Verdict { reproduced, same_regime, differs, not_run };
const char* name(Verdict);
// How far from x a quantity is still the same number: 2 points or epochs, 0.05 of a cosine, else 25%.
double margin(const std::string& quantity, double x);
Verdict judge(const std::string& quantity, const PaperValue&, const Ours&);

} // namespace fci
