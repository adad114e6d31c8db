// A checkpoint: one safetensors file with all that a run needs to go on, bit for bit.
//   NAME, adamw.m/NAME, adamw.v/NAME      F32, the parameters and the optimiser's moments
//   metadata: format, config (TOML of the resolved options), step, log_bytes, transition_epoch, data_hash, build, blas_core
// Random numbers are functions of (seed, step), so the step is their whole state.
#pragma once
#include "train/trainer.h"

namespace fci {

struct Progressed {           // of a run, beside what the Trainer holds
    int64_t log_bytes = 0;    // of log.jsonl at the checkpoint
    int transition_epoch = 0; // from 1; 0: not yet
};

void save_checkpoint(const std::string& path, Trainer&, const Progressed&);

// The resolved options of a checkpoint's run, to be carried out as `how` says. Exit::bad_data if it is damaged or foreign.
Options checkpoint_options(const std::string& path, const RunOptions& how);

// Exit::bad_data if the file is damaged, foreign, or of another configuration or other data than the trainer's: says
// which option differs. `note` gets a sentence when the bits will not continue as they were (another build).
Progressed load_checkpoint(const std::string& path, Trainer&, std::string* note = nullptr);

} // namespace fci
