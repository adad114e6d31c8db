// How long runs take on this machine: as long as the fastest run of the same options with any seed took, if one is
// recorded; else by the work of its steps at a share of this machine's peak (core/tile.h): rough, the more so the less
// of a run is products.
#pragma once
#include <map>

#include "study/results.h"

namespace fci {

class Estimates {
public:
    Estimates(const Results&, int threads); // 0: one for each processor

    double seconds(const Options&) const;
    void add(const Result&);

private:
    std::map<std::string, double> by_family_; // seconds, by the hash of the options with seed 1
    int threads_;
    mutable double peak_ = 0; // flop a second, measured when first asked for
};

} // namespace fci
