// The analytic work of training, for rates and estimates.
#pragma once
#include "train/options.h"

namespace fci {

// GFLOP of one sequence in a step: the flops of the ops' Cost lines (products, convolution, scan with an exp2 at 18),
// forward once and backward twice, attention 2 and 5 times. Pointwise work, softmax included, counts as nothing.
double sequence_gflop(const Options& resolved);

} // namespace fci
