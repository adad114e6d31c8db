// indices: arrays of positions that are computed rather than given, made on the device that reads them
//   cycle          y[i] = i mod period             the same m hubs for every sequence; period 1: zeros
//   expand_places  y[i,s,j] = chosen[i,s] length + j,  s < k, j < length: all positions of the k chosen places
// Shapes    cycle (n)   chosen (rows,2k), places in its first k   y (rows,k,length)
// Backward  none.   Cost O(size of y).
#pragma once
#include "core/tape.h"

namespace fci {

using CycleForward = void(int n, int period, int32_t* y);
using ExpandPlacesForward = void(int rows, int k, int length, const int32_t* chosen, int32_t* y);

FCI_TWINS(CycleForward, cycle_forward)
FCI_TWINS(ExpandPlacesForward, expand_places_forward)

IntTensor cycle(Tape&, Shape, int period);

// chosen (b,r,2k) -> (b,r,k length)
IntTensor expand_places(Tape&, IntTensor chosen, int length);

} // namespace fci
