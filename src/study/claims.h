// The paper's claims, each judged by the verdicts of the rows it rests on; and how much of the paper has been run.
// runs/claims.toml:
//
//   reading = "marker-fixed-same-everywhere"   the joint reading shown beside the defaults; "" for none
//
//   [[claim]]
//   id = "recurrence"
//   words = "Recurrence in one direction does not route"
//   rows = ["s46.flow2"]                       ids, also of rows with readings
//   quantity = "rank"                          the quantity judged; by default each row's first one in the paper
//   why = "..."                                the mechanism in one line, as far as the task's law tells it; it must be
//                                              true whatever the results are
//
// At one learning rate a row's verdict (study/verdict.h) counts as:
//   for      reproduced; at chance, both
//   against  differs
//   tie      tie: counts as `for`, but only because of the order of equal scores
//   neither  inconclusive, some seeds; also not run, untested or measured on a sample of a file, which count as not run
// The claim is about all its rows and their numbers. So it
//   does not hold    if a row counts against it
//   holds            if all rows count for it; "by a tie" if some of them are ties
//   is inconclusive  otherwise, if all rows ran
//   is not yet known otherwise; the text says how many rows ran
// A row without learning counts at every rate. If the rates agree, their common outcome is the claim's. If it holds at
// some rates and does not hold at all others, it holds at these only; otherwise each rate is listed. An outcome is
// provisional if it rests on verdicts of fewer than 3 seeds: `holds` if any row's verdict is, `does not hold` if all
// verdicts against it are. The same rule is applied separately under the reading.
#pragma once
#include <string>
#include <vector>

#include "study/report.h"

namespace fci {

struct Claim {
    std::string id, words, quantity, why; // quantity: empty for each row's first one
    std::vector<std::string> rows;
    int line = 0;
};

struct Claims {
    std::string file, reading;
    std::vector<Claim> all;
};

// Exit::usage, with file, line and nearest word, for a file that is not valid.
Claims read_claims(const std::string& toml, const std::string& file);
Claims load_claims(const Study&); // runs/claims.toml; its rows and its reading must exist

enum class Speaks { for_it, against, tie, neither };
struct Voice {
    Speaks speaks = Speaks::neither;
    bool provisional = false, ran = false;
};
Voice voice_of(const Line&);

// The outcome of a claim, from its rows' voices at each rate; each pair starts with the rate's name. Example: {"holds
// at 1e-3 only", in_part, false}
enum class Holds { yes, in_part, no, unknown }; // yes: also by a tie; in_part: at some rates; unknown: known at no rate
struct RolledUp {
    std::string words;
    Holds holds = Holds::unknown;
    bool provisional = false;
    std::string text() const { return (provisional ? "provisional: " : "") + words; }
};
RolledUp roll_up(const std::vector<std::pair<std::string, std::vector<Voice>>>& at_rates);
inline std::string rolled_up(const std::vector<std::pair<std::string, std::vector<Voice>>>& at_rates) {
    return roll_up(at_rates).text();
}

// A claim and the lines it rests on, row by row in the order of `rows`; null where a row has no line.
struct Judged {
    Claim claim;
    std::vector<Row> rows;
    std::vector<std::vector<const Line*>> at_rates; // of the rows without a reading, at each rate of the scale
    std::vector<const Line*> under;                 // under the reading; empty: no reading is chosen
    RolledUp holds, holds_under;
    bool ran_under = false; // a row counts under the reading

    std::string paper_of(size_t row) const;
};
// The pattern of outcomes that decides, in words (study/why.cpp): "f2.raw routes at 1e-3 (99.8; paper <=2.5)".
std::string reason(const Judged&);
inline std::string why(const Judged& j) { return reason(j) + "; " + j.claim.why; }
std::vector<Row> rows_of(const Claims&, const Claim&, const Study&); // both rows of an id with two readings
// The rows of all claims, each once.
std::vector<Row> rows_of(const Claims&, const Study&);
// `lines`: of the rows without a reading; `under`: of the same rows under the reading. The result points into both, so
// they must stay in place.
std::vector<Judged> judge_claims(const Claims&, const Study&, const Scale&, const std::vector<Line>& lines,
                                 const std::vector<Line>& under);

// claim | paper | ours at each rate | ours by the reading | seeds | holds? | why
std::string claims_text(const Claims&, const Study&, const Scale&, const Results& own, const Results& recorded,
                        const TableOptions&);

// The number of seeds of each of the paper's ids at each rate of the scale, in the order of its rows; an id with two
// readings counts the reading with fewer seeds. A negative number says why the id has none.
constexpr int needs_more = -1, on_a_sample = -2;
struct Covered {
    std::string id;
    std::vector<int> seeds;
};
std::vector<Covered> coverage_of(const std::vector<Line>&, const Scale&);
// How many of the paper's ids have run and with how many seeds, at each rate and at all rates.
std::string coverage_text(const Study&, const Scale&, const Results& own, const Results& recorded, const TableOptions&);

} // namespace fci
