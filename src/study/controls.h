// Controls: two routers without learning, run on the sequences that a row's numbers are measured on. Their exact scores
// follow from the law, the rule by which the data are generated. If a control misses its score, the data or the law are
// not as stated, and the row is untested. Controls need only the options, so a table computes them for old results too.
// The hash recorded with a result shows whether these options still give its data; if not, the row is untested too.
//
//   oracle  knows the law: of the places where the answer may be (given q), it takes the k lowest whose token equals
//           the query's key (semantic: is another token of its concept). Filler may be taken for the key with
//           probability p = 0; with filler-repeats-key p = 1/(V-1), semantic 4/(V-1); the answer's own value stands
//           behind it. So
//             ceiling   mean over q, and over r = 0 .. n(q)-1, of P(Bin(r, p) < k),     n(q): places of the answer
//           which is 100% where p = 0. mqar: the pair whose key is the query's, 100%. A segment is chosen for the
//           position in it, a bandit's arm within the answer's segment; for these two there is an oracle only if p = 0.
//           There is none where min-distance <= near-window + 1: distractors may then stand where the answer may.
//   blind   knows the law and q: takes the k likeliest places, ties to the lower. Expected: chance (train/chance.h).
//
// A control holds if its hits are within 4 standard deviations of sampling of the expected value; if that is 100%, none
// may be missed. Data other than der's and mqar's (one query) have neither control.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "study/results.h"
#include "train/chance.h"

namespace fci {

struct Control {
    double got = 0, expected = 0; // percent
    bool holds = true;
};
struct Controls {
    std::optional<Control> oracle, blind;
    std::optional<Chance> chance; // exact chance, for this router's choice
    bool hold() const { return (!oracle || oracle->holds) && (!blind || blind->holds); }
};

// What the router chooses from: positions, segments or a segment's arms.
struct Choice {
    int k = 1, place_length = 1;
    bool within = false; // the answer's segment is given, and place_length is its width
};
Choice choice_of(const Options& resolved);

// From the law; nothing where the law is not known (train/chance.h).
std::optional<Chance> exact_chance(const TaskOptions& resolved, const Choice&);

// Runs both controls on these sequences.
Controls run_controls(const TaskOptions& resolved, const Choice&, const Dataset&);

// Controls on the sequences of rows; each set is made and measured once. final: those of the final test, else of the
// test set.
class ControlsOfRows {
public:
    const Controls& of(const Options&, bool final);
    const std::optional<Chance>& chance(const Options&); // exact chance only; makes no sequences

    bool on_its_data(const Result&); // do its options still give its data? true where fci did not generate the data

private:
    std::map<std::string, Controls> known_;
    std::map<std::string, std::optional<Chance>> chances_;
    std::map<std::string, std::string> hashes_; // of the data
};

// The paper's chance: for DER the value it states (1.6%, which is 8 of 512 too), else that of a random draw: k of the N
// pairs or 16 segments, one of N values, one of 32 arms. Nothing for other quantities and hotpotqa.
std::optional<double> paper_chance(const Options&, const std::string& quantity);

} // namespace fci
