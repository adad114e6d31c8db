// Estimates of run times on this machine: the time of the fastest run of the same options with any seed, if one is
// recorded that was made as this one is to be, on the CPU or on a GPU; else by the work of its steps at a share of the
// processor's peak (core/tile.h): rough, the more so the less of a run is products, and far too long for a GPU.
#pragma once
#include <map>

#include "study/results.h"

namespace fci {

class Estimates {
public:
    Estimates(const Results&, const RunOptions&); // its threads and device

    double seconds(const Options&) const;
    void add(const Result&);

private:
    std::map<std::string, double> by_family_; // seconds, by the hash of the options with seed 1
    bool gpu_;
    int threads_;             // 0: one for each processor
    mutable double peak_ = 0; // flop a second, measured when first asked for
};

} // namespace fci
