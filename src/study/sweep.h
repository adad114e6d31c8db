// A sweep: all runs of some rows, by any number of processes and machines that share a file system. A finished run has
// a line in the results and is not repeated; a stopped run resumes from its checkpoint. A lock on the run's folder,
// runs/out/sweep/SCALE-vVERSION-HASH, keeps other processes from working on it.
#pragma once
#include <string>
#include <vector>

#include "study/plan.h"
#include "study/results.h"
#include "train/options.h"

namespace fci {

// The part of the runs that this process does: run r, numbered from 0, if r % count == index. Set by --shard i/N, i
// from 1; else by the scheduler's variables:
//   SLURM_ARRAY_TASK_ID  index (ID - MIN) / STEP, of SLURM_ARRAY_TASK_COUNT
//   JOB_COMPLETION_INDEX index, from 0, of JOB_COMPLETIONS (Kubernetes sets the first, the manifest the second)
// Without a count there is one job per run: job i does run i only.
struct Shard {
    int64_t index = 0, count = 1; // count 0: one job per run
    int64_t of = 0;               // number of runs in all parts together
};
Shard shard_from(const std::string& flag); // Exit::usage: not i/N, or out of range

struct SweepOptions {
    std::string scale = "small", results = default_results, folder = "runs/out/sweep";
    std::string recorded; // a further folder of results, whose runs count as done; empty: none
    RunOptions how;       // threads, device, precision
    int jobs = 1;         // concurrent runs in one process: on a GPU each has its own stream
    bool quiet = false;
    Shard shard;
};

std::string run_folder(const PlannedRun&, const SweepOptions&);

// Does all runs, and waits for runs that other processes are working on. Exit::interrupted after SIGINT or SIGTERM. A
// run that cannot be done (an option that this version refuses, a NaN) is reported and the others continue; the exit
// code is then that of the first such run.
Exit sweep(const std::vector<PlannedRun>&, const SweepOptions&);

// Prints one line per run: done, running, unfinished or waiting; then counts, and an estimate of the remaining time.
void print_status(const std::vector<PlannedRun>&, const SweepOptions&);

// Runs that an entry asks for together, and why (study/order.h).
struct PlannedEntry {
    std::string what;
    std::vector<PlannedRun> runs;
};
std::vector<PlannedRun> all_runs(const std::vector<PlannedEntry>&); // each once, at its first place

// Prints one line per entry, each with all of its runs, then the same counts with each run counted once.
void print_status(const std::vector<PlannedEntry>&, const SweepOptions&);

} // namespace fci
