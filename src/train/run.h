// A run: what `fci train` and `fci eval` do. A run folder holds
//   config.toml              the resolved options, and [provenance]
//   log.jsonl                one line a step and one an epoch
//   checkpoint.safetensors   after each epoch (--checkpoint-every) and at the end; see train/checkpoint.h
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "train/options.h"

namespace fci {

using Given = std::vector<std::pair<std::string, std::string>>; // (key, word) of the command line, in order

// Options as `fci train` was given them, checked and filled in.
Options options_to_train(const Options& asked, const Given&);

// The machine, seed, data and options of a result, as a JSON object.
std::string provenance_json(const Options&, uint64_t data_hash);

// Trains, or with --resume goes on. Exit::interrupted after SIGINT or SIGTERM, a checkpoint written.
Exit train(const Options&, const Given&);

// Measures a checkpoint on its own test set, or on the sequences in `data`.
Exit evaluate(const std::string& checkpoint, const std::string& data, const RunOptions&);

} // namespace fci
