// The search for the options that the paper may have used: which joint readings of runs/registered.toml survive, and
// how close each is to the paper.
//
// Stage 1. The paper has f2.raw and f2.content-only at chance. A reading survives if both stay at or below chance + 1:
// seed 1, all epochs. 0.0 caused by ties (study/verdict.h) survives too, and is marked.
//
// The score. A cell is a row of registered.toml under a reading: one run, however many ids share it. Its distance is
//   d = max(0, low - x, x - high)     points of routing, x ours, the mean over seeds
// with [low, high] the paper's value; an exact one is taken +-2 points, the margin within which verdicts count two
// numbers as the same. The score is the mean of d over cells, 0 at best. It is in the units of the measured numbers and
// has no parameters. It needs no cap, since routing lies within 0 and 100. All readings within noise of the paper score
// the same, so ties are ties.
//
//   chosen by   s(f2.transformer1, s46.flow2), seed 1 after epoch 15: stage 2, from stopped and whole runs alike
//   judged by   s of the other cells, whole runs, all seeds
//   unseen      s of those of the latter that registered.toml has as unseen: nobody knew their outcome
//
// Rows that arithmetic fixes under some reading (`arithmetic` in registered.toml: no training could change them) are
// left out under all readings. So the cells are the same for all readings, and no reading is scored on a cell that
// needs no run. The best reading is the survivor with the lowest `chosen by`; among equal ones (to 0.1) the one with
// the fewest departures from the defaults.
//
// Two references on the same cells: every router at its chance, every router at 100. And a permutation test, the
// shuffle: the paper's values are dealt to the rows anew, 10,000 times with a fixed seed; each time the lowest mean d
// among the readings that ran at least half of the cells is taken. It shows how good the best of so many readings looks
// by luck.
#pragma once
#include "study/registered.h"

namespace fci {

constexpr int stage2_epoch = 15;

struct Survival {
    Reading reading;
    enum { not_run, out, survives } state = not_run;
    bool tie = false;                                // one of the two is 0.0 by ties
    std::optional<double> raw, content_only, chance; // percent; chance: the lower of the two
};
std::vector<Survival> stage1(const Registered&, const Study&, const Results& own, const Results& recorded,
                             ControlsOfRows&);
std::vector<Reading> survivors(const std::vector<Survival>&);

// The number of a reading's options that are not at their default, except the learning rate.
int departures(const Reading&);

double off_by(const PaperValue&, const std::string& quantity, double ours); // d; for other quantities with margin()

// A reading's numbers, row by row, without the rows that are left out; nothing: not run.
struct Scored {
    Survival of;
    int departures = 0;
    struct Cell {
        std::string row, hash; // hash: of its run, without the seed
        PaperValue paper;
        std::optional<double> early, ours, chance; // early: after epoch 15, for rows that choose
        bool chooses = false, unseen = false;
        std::optional<double> counted() const { return chooses ? early : ours; }
    };
    std::vector<Cell> cells;
};
std::vector<Scored> scored(const Registered&, const Study&, const Results& own, const Results& recorded,
                           ControlsOfRows&);

// The mean of d over the cells that ran, and their number. part: 'c' chosen by, 'j' judged by, 'u' unseen, 'a' all.
struct Score {
    double mean = 0;
    int cells = 0;
};
Score score(const Scored&, char part);
const Scored* best(const std::vector<Scored>&); // null: no survivor has run both rows that choose

// The lowest scores over all cells with shuffled values, sorted; and the real one. Nothing if no reading ran half of
// them.
struct Shuffled {
    std::vector<double> lowest;
    double real = 0;
    int readings = 0;
};
std::optional<Shuffled> shuffle(const std::vector<Scored>&, int times = 10000);

std::string survivors_text(const std::vector<Survival>&);
// All of the above, and what no reading explains: the paper's numbers for the search's runs that no reading comes close
// to.
std::string search_text(const Registered&, const Study&, const Results& own, const Results& recorded,
                        const TableOptions&);

} // namespace fci
