// Where a number comes from: recorded with every run and every result.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "train/options.h"

namespace fci {

// Compiler, its flags and the width of vectors: two builds of which this is the same compute the same bits on the CPU,
// but for what LAPACK does in double precision (blas_core in core/gemm.h).
std::string build_name();

// (name, value): git commit (-dirty if the tree had changes), compiler (build_name()), the CPU kernels that OpenBLAS
// chose, processor, system, the device that computed, and today (UTC).
std::vector<std::pair<std::string, std::string>> provenance(const RunOptions& = {});

std::string device_name(const RunOptions&); // of resolved ones: "cpu", or the GPU's name

double peak_rss_mb(); // of this process so far

} // namespace fci
