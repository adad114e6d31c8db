// A checkpoint's model, measured: what `fci eval` does, and what `show` and `analyze` begin with.
#pragma once
#include <memory>
#include <string>

#include "train/trainer.h"

namespace fci {

// A trainer for the checkpoint's model, at its initial values: load_model (train/checkpoint.h) loads the trained ones.
// Its test set is the run's own, or the sequences in `data`, a folder or, of hotpotqa, a file. The training set is of
// use for chance alone; where it is not there, absent() says why and chance() is not known. Exit::bad_data where the
// test set is not there, or of the run's own only other data are.
std::unique_ptr<Trainer> trainer_to_measure(const std::string& checkpoint, const std::string& data, const RunOptions&);

// The trained model alone, on the CPU: it has neither training nor test set, and is for Trainer::look. Exit::usage
// where the task is text.
std::unique_ptr<Trainer> trainer_to_ask(const std::string& checkpoint, const RunOptions&);

// Prints a checkpoint's numbers.
Exit evaluate(const std::string& checkpoint, const std::string& data, const RunOptions&);

} // namespace fci
