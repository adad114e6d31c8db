// What the processor can do at most, measured here and now.
#pragma once
#include "core/workers.h"

namespace fci {

// Flop a second of all workers together, on multiply-adds in registers (core/tile.h): the best of a few short samples,
// what others do on the machine left aside. It takes some hundredths of a second.
double measured_peak(Workers&);

} // namespace fci
