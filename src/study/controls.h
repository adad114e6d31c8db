// Controls: two routers without learning, run on the sequences that a row's numbers are measured on. Their exact scores
// follow from how the data are generated; where one misses its score, data or law are not as stated, and the row is
// untested. They need the options alone, so old results get them too when a table is made. That these options still
// give the data of a result is checked by the hash that it recorded; where they do not, the row is untested too.
//
//   oracle  knows the law: of the places where the answer may be (given q), those whose token equals the query's key
//           (semantic: is another one of its concept), the k lowest. Filler may be taken for the key with probability
//           p = 0; with filler-repeats-key 1/(V-1), semantic 4/(V-1); the answer's own value stands behind it. So
//             ceiling   mean over q, and over r = 0 .. n(q)-1, of P(Bin(r, p) < k),     n(q): places of the answer
//           which is 100% where p = 0. mqar: the pair whose key is the query's, 100%. A segment is chosen for the
//           position in it, a bandit's arm within the answer's segment; for these two there is an oracle where p = 0.
//           None where min-distance <= near-window + 1: distractors may then stand where the answer may.
//   blind   knows the law and q: the k likeliest places, ties to the lower. Expected: chance (train/chance.h).
//
// A control holds if its hits are within 4 standard deviations of sampling of what is expected: at 100%, if none is
// missed. On other data than der's and mqar's (one query) there is neither.
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
    std::optional<Chance> chance; // the exact one, for what this router chooses
    bool hold() const { return (!oracle || oracle->holds) && (!blind || blind->holds); }
};

// What the router chooses among: positions, segments, or a segment's arms.
struct Choice {
    int k = 1, place_length = 1;
    bool within = false; // the answer's segment is given, and place_length is its width
};
Choice choice_of(const Options& resolved);

// By law; nothing where the law is not known (train/chance.h).
std::optional<Chance> exact_chance(const TaskOptions& resolved, const Choice&);

// On these sequences.
Controls run_controls(const TaskOptions& resolved, const Choice&, const Dataset&);

// On those of a row, each made and measured once. final: of the final test, else of the test set.
class ControlsOfRows {
public:
    const Controls& of(const Options&, bool final);
    const std::optional<Chance>& chance(const Options&); // the exact one alone, for which no sequence is made

    bool on_its_data(const Result&); // of the options now and then; true where fci did not make them by a law

private:
    std::map<std::string, Controls> known_;
    std::map<std::string, std::optional<Chance>> chances_;
    std::map<std::string, std::string> hashes_; // of data
};

// The paper's chance: what it states for DER (1.6%, which is 8 of 512 too), else a draw's: k of the N pairs or 16
// segments, one of N values, one of 32 arms. Nothing for other quantities and hotpotqa.
std::optional<double> paper_chance(const Options&, const std::string& quantity);

} // namespace fci
