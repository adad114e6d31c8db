// A plan: the runs of a row at a scale. Rows with the same effective options share one run.
#pragma once
#include "study/rows.h"
#include "train/run.h"

namespace fci {

// The same options, with those that have no effect in this run set to their defaults, e.g. n_distractors of mqar,
// bandit_context without a bandit, learning_rate if nothing learns.
Options canonical(Options);

// Exit::usage for a flag that was given but has no effect with those options: the user would believe it had one. Flags
// of the task are refused by resolve().
void refuse_idle(const Options&, const Given&);

bool learns(const Options&); // bloom, random and blind do not: they have no parameters

std::string rate_text(double learning_rate); // 3e-4

// 16 hex digits that identify a run, seed included. Hashed are the canonical options that are not at their default,
// sorted, so an option added by a later version changes no hash.
std::string run_hash(const Options&);

// A hash that is the same for all seeds of a run.
std::string family_hash(Options);

// The runs of a row at one learning rate; they differ by seed.
struct Case {
    Row row;
    Options options;                     // canonical, seed 1
    std::optional<double> learning_rate; // none: nothing learns

    Options seeded(int64_t seed) const;
};

// Finds the pretrained models of rows in this folder, in subfolders with the names that the rows give (empty: no
// folder). Rows whose model is found can be run. Exit::bad_data for a model that does not match the row's
// backbone_hash.
void place_backbones(std::vector<Row>&, const std::string& folder);

// Cases in the order of the rows, for each row at its learning rates. A row that needs missing files has one case,
// which is not run. But if its pretrained model's hash is known, it has the same cases as if the model were present,
// since results may exist.
std::vector<Case> plan(const std::vector<Row>&, const Scale&);

// One run of a sweep, and the rows it belongs to.
struct PlannedRun {
    std::string hash, label; // "s46.bimamba lr 0.001 seed 2", "t1.raw, t3.raw lr ..."
    Options options;
    bool again = false; // a result without a final test does not count as done
    int stop_after = 0; // epochs, fewer than the run has; 0: the whole run
};
// Each once, those of seed 1 first. seeds: from 1 to this; 0: as many as each row names, or 1.
std::vector<PlannedRun> runs_of(const std::vector<Case>&, int64_t seeds);
std::vector<PlannedRun> runs_of(const std::vector<Case>&, const std::vector<int64_t>& seeds);

// Marks the runs to be stopped after this many epochs, with unchanged schedules. Runs that have no more epochs than
// that, or train no model, stay whole.
void stop_after(std::vector<PlannedRun>&, int epochs);

} // namespace fci
