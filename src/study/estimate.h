// Estimates of run times on this machine. If a run of the same options with any seed is recorded, made on the same kind
// of device (CPU or GPU), the estimate is the time of the fastest one. Otherwise it is the work of the steps at a share
// of the processor's peak (core/tile.h). That is rough, the more so the less of a run is matrix products, and far too
// long for a GPU.
#pragma once
#include <map>

#include "study/results.h"

namespace fci {

class Estimates {
public:
    Estimates(const Results&, const RunOptions&); // uses the options' threads and device

    double seconds(const Options&) const;
    void add(const Result&);

private:
    std::map<std::string, double> by_family_; // seconds, by the hash of the options with seed 1
    bool gpu_;
    int threads_;             // 0: one per processor
    mutable double peak_ = 0; // flop per second, measured on first use
};

} // namespace fci
