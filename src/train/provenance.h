// Where a number comes from: recorded with every run and every result.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace fci {

// (name, value): git commit (-dirty if the tree had changes), compiler and its flags, the CPU kernels that
// OpenBLAS chose, processor, system.
std::vector<std::pair<std::string, std::string>> provenance();

std::string json_quote(const std::string&); // "text" with what JSON wants escaped

double peak_rss_mb(); // of this process so far

} // namespace fci
