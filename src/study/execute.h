// One run of a row, from its options to its result.
#pragma once
#include "study/plan.h"
#include "study/results.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace fci {

// Stores a trainer's evaluation and its provenance in the result.
void set_numbers(Result&, const Trainer&, const Counts&);

FinalTest final_of(const Counts&, const Trainer&);

// Reads the curve, the transition and the time of a run's steps from its log.jsonl, which has all epochs even if the
// run was resumed. Exit::bad_data for a broken log.
void read_log(const std::string& path, Result&);

// Starts the run in `folder`, or resumes it there. Returns nothing if SIGINT or SIGTERM stopped it; a checkpoint is
// then written.
std::optional<Result> execute(const PlannedRun&, const std::string& scale, const std::string& folder,
                              const RunOptions& how, Progress&);

} // namespace fci
