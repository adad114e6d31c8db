// A sweep: all the runs of some rows, by any number of processes and machines that share a file system. A finished run
// has a line in the results and is not done again; one that was stopped goes on from its checkpoint; one that another
// process is at is left to it, by a lock on its folder, runs/out/sweep/SCALE-vVERSION-HASH.
#pragma once
#include <string>
#include <vector>

#include "study/plan.h"
#include "study/results.h"
#include "train/options.h"

namespace fci {

// Which part of the runs this process does: run r of those numbered from 0, if r % count == index. By --shard i/N, i
// from 1; else by the scheduler's variables:
//   SLURM_ARRAY_TASK_ID  index (ID - MIN) / STEP, of SLURM_ARRAY_TASK_COUNT
//   JOB_COMPLETION_INDEX index, from 0, of JOB_COMPLETIONS (Kubernetes sets the first; the manifest, the second)
// Without a count there is one job a run: job i does run i alone.
struct Shard {
    int64_t index = 0, count = 1; // count 0: one job a run
    int64_t of = 0;               // runs of all parts together
};
Shard shard_from(const std::string& flag); // Exit::usage: not i/N, or out of range

struct SweepOptions {
    std::string scale = "small", results = default_results, folder = "runs/out/sweep";
    std::string recorded; // a further folder of results, whose runs count as done; empty: none
    int64_t seeds = 1;
    RunOptions how; // threads, device, tf32
    int jobs = 1;   // runs at once, in one process: on a GPU each has a stream of its own
    bool quiet = false;
    Shard shard;
};

std::string run_folder(const PlannedRun&, const SweepOptions&);

// Does them, all, and waits for those that other processes are at. Exit::interrupted after SIGINT or SIGTERM. A run
// that cannot be done (an option that this version refuses, a NaN) is reported and the others go on; then the exit code
// is the first such run's.
Exit sweep(const std::vector<PlannedRun>&, const SweepOptions&);

// A line a run: done, running, unfinished or waiting; then counts, and how long the rest would take.
void print_status(const std::vector<PlannedRun>&, const SweepOptions&);

// Runs that are asked for together, and why (study/order.h).
struct PlannedEntry {
    std::string what;
    std::vector<PlannedRun> runs;
};
std::vector<PlannedRun> all_runs(const std::vector<PlannedEntry>&); // each once, where it comes first

// A line an entry, each with all of its runs, then the same counts, of each run once.
void print_status(const std::vector<PlannedEntry>&, const SweepOptions&);

} // namespace fci
