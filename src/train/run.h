// A run: what `fci train` does. A run folder holds
//   config.toml              the resolved options, and [provenance]
//   log.jsonl                one line a step, one an epoch, and one of the final test: train/run_log.h
//   events.out.tfevents.*    with --tensorboard: the same numbers (train/tensorboard.h), a file a process
//   checkpoint.safetensors   after each epoch (--checkpoint-every) and at the end; see train/checkpoint.h
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "train/progress.h"
#include "train/provenance.h"
#include "train/trainer.h"

namespace fci {

using Given = std::vector<std::pair<std::string, std::string>>; // (key, word) of the command line, in order

// Options as `fci train` was given them, checked and filled in.
Options options_to_train(const Options& asked, const Given&);

// Trains, or with --resume goes on. Exit::interrupted after SIGINT or SIGTERM, a checkpoint written.
Exit train(const Options&, const Given&);

// The outcome of a finished run: the trained model, its numbers on the test set and in the final test,
// and the epoch of the transition from 1, 0 for none.
using AtEnd = std::function<void(Trainer&, const Counts&, const std::optional<Counts>&, int transition_epoch)>;

// One run of many, in `folder`, which exists: starts it, or goes on with it.
Exit carry_out(const Options&, const std::string& folder, Progress&, const AtEnd& at_end);

} // namespace fci
