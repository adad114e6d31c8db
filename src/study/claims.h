// The paper's claims, rolled up from the verdicts of the rows that each rests on; and how much of the paper has run.
// runs/claims.toml:
//
//   reading = "marker-fixed-same-everywhere"   the joint reading beside the defaults; "" for none
//
//   [[claim]]
//   id = "recurrence"
//   words = "Recurrence in one direction does not route"
//   rows = ["s46.flow2"]                       ids, of readings too
//   quantity = "rank"                          what counts of the rows; without it the first that the paper has of each
//   why = "..."                                the mechanism, as far as the task's law tells it, in a line; it must be
//                                              true whatever comes out
//
// At one learning rate a row speaks by its verdict (study/verdict.h):
//   for      reproduced; at chance, both
//   against  differs
//   tie      tie: for, but by the order of equal scores alone
//   neither  inconclusive, some seeds; it has not run if it is not run or untested, or was measured on a sample of a
//   file
// and the claim, which is about all its rows and their numbers, by them:
//   does not hold    a row speaks against it
//   holds            all rows speak for it; by a tie: some of them so
//   inconclusive     else, if all rows ran
//   not yet known    else; with how many rows ran
// A row without learning speaks at every rate. Where the rates agree, that is what the claim does; where it holds at
// some and does not at all others, it holds at these only; else each rate is named. What rests on verdicts of fewer
// than 3 seeds is provisional: a claim that holds, if one row's is; one that does not, if those of all rows against it
// are. Under the reading the same rule is applied by itself.
#pragma once
#include <string>
#include <vector>

#include "study/report.h"

namespace fci {

struct Claim {
    std::string id, words, quantity, why; // quantity: empty for each row's first
    std::vector<std::string> rows;
    int line = 0;
};

struct Claims {
    std::string file, reading;
    std::vector<Claim> all;
};

// Exit::usage names file, line and nearest word.
Claims read_claims(const std::string& toml, const std::string& file);
Claims load_claims(const Study&); // runs/claims.toml; its rows and its reading must be there

enum class Speaks { for_it, against, tie, neither };
struct Voice {
    Speaks speaks = Speaks::neither;
    bool provisional = false, ran = false;
};
Voice voice_of(const Line&);

// What a claim does: its rows' voices at each rate, the rate's name first. {"holds at 1e-3 only", in_part, false}
enum class Holds { yes, in_part, no, unknown }; // by a tie too; at some rates; at none that is known
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

// A claim and the lines that it rests on, row by row, in the order of `rows`; null: there is none.
struct Judged {
    Claim claim;
    std::vector<Row> rows;
    std::vector<std::vector<const Line*>> at_rates; // of the rows as they are, at each rate of the scale
    std::vector<const Line*> under;                 // under the reading; empty: none is chosen
    RolledUp holds, holds_under;
    bool ran_under = false; // a row counts under the reading

    std::string paper_of(size_t row) const;
};
// The pattern of outcomes that decides, in words (study/why.cpp): "f2.raw routes at 1e-3 (99.8; paper <=2.5)".
std::string reason(const Judged&);
inline std::string why(const Judged& j) { return reason(j) + "; " + j.claim.why; }
std::vector<Row> rows_of(const Claims&, const Claim&, const Study&); // of an id with two readings both
// Those rows of all claims, each once.
std::vector<Row> rows_of(const Claims&, const Study&);
// `lines`: of the rows as they are; `under`: of them under the reading. Both must stay where they are.
std::vector<Judged> judge_claims(const Claims&, const Study&, const Scale&, const std::vector<Line>& lines,
                                 const std::vector<Line>& under);

// claim | paper | ours at each rate | ours by the reading | seeds | holds? | why
std::string claims_text(const Claims&, const Study&, const Scale&, const Results& own, const Results& recorded,
                        const TableOptions&);

// Seeds of each of the paper's ids at each rate of the scale, in the order of its rows; of an id with two readings the
// one with fewer. Negative: why it has none.
constexpr int needs_more = -1, on_a_sample = -2;
struct Covered {
    std::string id;
    std::vector<int> seeds;
};
std::vector<Covered> coverage_of(const std::vector<Line>&, const Scale&);
// Of the paper's ids, how many have run with how many seeds, at each rate and at all of them.
std::string coverage_text(const Study&, const Scale&, const Results& own, const Results& recorded, const TableOptions&);

} // namespace fci
