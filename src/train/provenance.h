// Where a number comes from: recorded with every run and every result.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "train/options.h"

namespace fci {

// (name, value): git commit (-dirty if the tree had changes), compiler and its flags, the CPU kernels that
// OpenBLAS chose, processor, system, and the device that computed.
std::vector<std::pair<std::string, std::string>> provenance(const RunOptions& = {});

std::string device_name(const RunOptions&); // of resolved ones: "cpu", or the GPU's name

std::string json_quote(const std::string&); // "text" with what JSON wants escaped

double peak_rss_mb(); // of this process so far

} // namespace fci
