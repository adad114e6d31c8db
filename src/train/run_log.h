// The lines of a run's log.jsonl:
//   {"type":"step","step","epoch","loss","answer_loss","routing_loss","grad_norm","learning_rate","ms"}
//   {"type":"epoch","epoch","step",...metrics on the test set...,"transition","loss","seconds"}
//   {"type":"final",...}     metrics in the final test
// loss of an epoch: the mean of its steps'. seconds: since the run began, without the time between two processes.
#pragma once
#include <string>

#include "train/metrics.h"
#include "train/tensorboard.h"

namespace fci {

inline constexpr const char* step_line = R"({"type":"step",)"; // how one begins

std::string step_text(const Step&, double ms);

// The same for TensorBoard: train/loss, ..., and of a test test/routing_at_k, test/routing_at_1, test/accuracy, those
// that the run has.
Scalars scalars_of(const Step&);
Scalars scalars_of(const std::string& test, const Counts&, const Applicable&);

// What the log says of the run so far.
struct RunSoFar {
    double seconds = 0, epoch_loss = 0;  // epoch_loss: the sum over the last epoch's steps, if it has no epoch line yet
    int64_t epoch_steps = 0, epochs = 0; // epochs: with a line
};
RunSoFar read_run_log(const std::string& path);

} // namespace fci
