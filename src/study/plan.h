// A plan: the runs of a row at a scale. Rows with the same effective options share one run.
#pragma once
#include "study/rows.h"
#include "train/run.h"

namespace fci {

// The same options, with those that have no effect in this run at their defaults, e.g. n_distractors of mqar,
// bandit_context without a bandit, learning_rate without anything that learns.
Options canonical(Options);

// Exit::usage for a flag that was given but has no effect with those options: it would be mistaken for effective.
// Flags of the task are refused by resolve().
void refuse_idle(const Options&, const Given&);

bool learns(const Options&); // bloom, random and blind do not: they have no parameters

std::string rate_text(double learning_rate); // 3e-4

// 16 hex digits that stand for a run, seed included: of the canonical options that are not at their default, sorted, so
// that an option which a later version adds changes no hash.
std::string run_hash(const Options&);

// The same for all seeds of a run.
std::string family_hash(Options);

// The runs of a row at one learning rate; they differ by seed.
struct Case {
    Row row;
    Options options;                     // canonical, seed 1
    std::optional<double> learning_rate; // none: nothing learns

    Options seeded(int64_t seed) const;
};

// Rows on pretrained models, whose folders are in this one by the rows' names for them (empty: nowhere): those that are
// there can be run. Exit::bad_data for one that is not what the row's backbone_hash says.
void place_backbones(std::vector<Row>&, const std::string& folder);

// In the order of the rows, for each its learning rates; rows that need what is not here have one case, which is not
// run, or, of a pretrained model whose hash is known, the same cases as if it were here: results of them may be.
std::vector<Case> plan(const std::vector<Row>&, const Scale&);

// One run of a sweep, and the rows that it is of.
struct PlannedRun {
    std::string hash, label; // "s46.bimamba lr 0.001 seed 2", "t1.raw, t3.raw lr ..."
    Options options;
    bool again = false; // a result without a final test does not count as done
    int stop_after = 0; // epochs, less than all of them; 0: the whole run
};
std::vector<PlannedRun> runs_of(const std::vector<Case>&, int64_t seeds); // each once, those of seed 1 first
std::vector<PlannedRun> runs_of(const std::vector<Case>&, const std::vector<int64_t>& seeds);

// To be stopped after so many epochs, schedules unchanged. What has no more of them, or trains no model, stays whole.
void stop_after(std::vector<PlannedRun>&, int epochs);

} // namespace fci
