// Provenance, recorded with every run and every result.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "train/options.h"

namespace fci {

// Compiler, its flags and the width of vectors: two builds with the same name compute the same bits on the CPU,
// but for what LAPACK does in double precision (blas_core in core/gemm.h).
std::string build_name();

// (name, value): git commit (-dirty if the tree had changes), compiler (build_name()), the CPU kernels that OpenBLAS
// chose, processor, system, the device that computed, and today (UTC).
std::vector<std::pair<std::string, std::string>> provenance(const RunOptions& = {});

// What `fci --version` prints: version, commit, compiler, BLAS, CUDA and GPU, a line each.
std::string version_text();

// The same as a JSON object, with seed, data and options.
std::string provenance_json(const Options&, uint64_t data_hash);

std::string device_name(const RunOptions&); // of resolved ones: "cpu", or the GPU's name

double peak_rss_mb(); // of this process so far

} // namespace fci
