// The search for what the paper may have run: which of the joint readings of runs/registered.toml survive, and how near
// each of them comes to the paper.
//
// Stage 1. A reading survives if f2.raw and f2.content-only, which the paper has at chance, stay at or below chance +
// 1: seed 1, all epochs. 0.0 made by ties (study/verdict.h) survives too, and is marked.
//
// The score. A cell is a row of registered.toml under a reading: one run, however many ids share it. It is off by
//   d = max(0, low - x, x - high)     points of routing, x ours, the mean over seeds
// with [low, high] the paper's value, an exact one +-2 points, as verdicts take it for the same number. The score is
// the mean of d over cells, 0 at best. It is in the units of what is measured, it has nothing to set, it needs no cap
// since routing lies within 0 and 100, and what is as near as noise allows is worth the same, so that ties are ties.
//
//   chosen by   s(f2.transformer1, s46.flow2), seed 1 after epoch 15: stage 2, stopped and whole runs alike
//   judged by   s of the other cells, whole runs, all seeds
//   unseen      s of those of the latter that registered.toml had as unseen: nobody knew how they would come out
//
// A row that arithmetic fixes under some reading (`arithmetic` in registered.toml: no training could change it) is left
// out under all: so the cells are the same for all readings, and none is paid for what needs no run. The best reading
// is the survivor with the lowest `chosen by`, of equal ones (to 0.1) that with the fewest departures from the
// defaults.
//
// Beside it, on the same cells: every router at its chance, every router at 100. And the shuffle, a permutation test:
// the paper's values are dealt to the rows anew, 10,000 times by a fixed seed; each time the lowest mean d among the
// readings that ran at least half of the cells is taken. It says how good the best of so many readings looks by luck.
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

// Options of a reading that are not at their default, the learning rate aside.
int departures(const Reading&);

double off_by(const PaperValue&, const std::string& quantity, double ours); // d; of other quantities by margin()

// What a reading came to, row by row of those that are not left out; nothing: not run.
struct Scored {
    Survival of;
    int departures = 0;
    struct Cell {
        std::string row, hash; // hash: of its run, seed aside
        PaperValue paper;
        std::optional<double> early, ours, chance; // early: after epoch 15, of rows that choose
        bool chooses = false, unseen = false;
        std::optional<double> counted() const { return chooses ? early : ours; }
    };
    std::vector<Cell> cells;
};
std::vector<Scored> scored(const Registered&, const Study&, const Results& own, const Results& recorded,
                           ControlsOfRows&);

// The mean of d over cells that ran, and their number. part: 'c' chosen by, 'j' judged by, 'u' unseen, 'a' all.
struct Score {
    double mean = 0;
    int cells = 0;
};
Score score(const Scored&, char part);
const Scored* best(const std::vector<Scored>&); // null: of no survivor both rows that choose ran

// The lowest scores of all cells under shuffled values, sorted; and the real one. Nothing: no reading ran half of them.
struct Shuffled {
    std::vector<double> lowest;
    double real = 0;
    int readings = 0;
};
std::optional<Shuffled> shuffle(const std::vector<Scored>&, int times = 10000);

std::string survivors_text(const std::vector<Survival>&);
// All of it, and what no reading explains: the numbers of the paper on the search's runs that no reading comes near.
std::string search_text(const Registered&, const Study&, const Results& own, const Results& recorded,
                        const TableOptions&);

} // namespace fci
