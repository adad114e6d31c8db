// A checkpoint: one safetensors file with everything that a run needs to go on, bit for bit.
//   NAME, adamw.m/NAME, adamw.v/NAME      F32, the parameters and the optimiser's moments
//   metadata: format, config (TOML of the resolved options), step, log_bytes, transition_epoch, data_hash, build,
//   blas_core
// Random numbers are functions of (seed, step), so the step is their whole state.
#pragma once
#include "train/trainer.h"

namespace fci {

struct Progressed {           // a run's progress, beside the Trainer's
    int64_t log_bytes = 0;    // of log.jsonl at the checkpoint
    int transition_epoch = 0; // from 1; 0: not yet
};

// Where a checkpoint is asked for, a run's folder stands for the one in it, and where a run is asked for, its
// checkpoint stands for the folder. Exit::bad_data for a folder without a checkpoint. What is not there stays as it is.
std::string checkpoint_file(const std::string& file_or_folder);
std::string folder_of_run(const std::string& file_or_folder);

void save_checkpoint(const std::string& path, Trainer&, const Progressed&);

// Three ways to read a checkpoint: whole, to go on with the run (load_checkpoint); the model, to measure it
// (load_model), or to start from (load_start). The latter two need no state of AdamW.

// The resolved options of a checkpoint's run, with the run options of `how`. Exit::bad_data if it is damaged or
// foreign, or where its backbone is not where it was, nor where `how` says.
Options checkpoint_options(const std::string& path, const RunOptions& how);

uint64_t data_hash_of(const std::string& path); // of the data that its run was trained on
// Exit::bad_data unless the checkpoint's data hash is `hash`, that of the data which the options name.
void expect_data(const std::string& path, uint64_t hash, const Options&);

// Exit::bad_data if the file is damaged, foreign, or of another configuration or other data than the trainer's: says
// which option differs. `note` gets a sentence when the bits will not continue as they were (another build).
Progressed load_checkpoint(const std::string& path, Trainer&, std::string* note = nullptr);

// Parameters and step, into a trainer of the checkpoint's options. Exit::bad_data as above.
void load_model(const std::string& path, Trainer&);

// Parameters alone, of any safetensors file that has the tensors of this trainer's model. Exit::usage if it says that
// it is of another model. Returns the file's hash.
uint64_t load_start(const std::string& path, Trainer&);

} // namespace fci
