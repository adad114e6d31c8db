// config.toml of a run folder: the options that the run was started with, and [provenance].
#pragma once
#include "train/run.h"

namespace fci {

// init_hash: of the file that --init-from names.
void write_config(const std::string& path, const Trainer&, std::optional<uint64_t> init_hash);

// Exit::usage where the number of test sequences that was given is not the one that the data give.
void expect_as_many_as_given(const Options& asked, const Given&, const Options& of_data);

// Options of a run that is to be continued: those that it was started with; flags given now may only repeat them,
// say where the data are now, or how to carry on (threads, quiet, ...). Adds run.more_epochs.
Options resumed_options(const std::string& folder, const Options& now, const Given&);

// Exit::bad_data if [provenance] says that the run was started on other data, read from files, than the trainer has:
// for where no checkpoint says it.
void expect_data_of(const std::string& path, const Trainer&);

// For a run without a checkpoint, before it starts over and its log is erased. Exit::bad_data if there was one: an
// epoch's line comes before its checkpoint, so after two lines.
void expect_no_checkpoint_yet(const std::string& checkpoint, const std::string& log, const Trainer&);

// Where the trainer's data are at another place than is written there, or epochs were added, writes it.
void record_changes(const std::string& path, const Trainer&);

} // namespace fci
