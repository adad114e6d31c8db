// One run of a row, from its options to its result.
#pragma once
#include "study/plan.h"
#include "study/results.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace fci {

// The result of an evaluation of a trainer, with its provenance.
void set_numbers(Result&, const Trainer&, const Counts&);

FinalTest final_of(const Counts&, const Trainer&);

// The curve, the transition and the time of a run's steps, out of its log.jsonl: a run that was resumed has all of its
// epochs there. Exit::bad_data for a log that is broken.
void read_log(const std::string& path, Result&);

// Starts the run in `folder`, or goes on with it there. Nothing: SIGINT or SIGTERM stopped it, a checkpoint is written.
std::optional<Result> execute(const PlannedRun&, const std::string& scale, const std::string& folder,
                              const RunOptions& how, Progress&);

} // namespace fci
