#include "study/estimate.h"

#include <algorithm>
#include <chrono>

#include "core/tile.h"
#include "core/workers.h"
#include "routing/router.h"
#include "study/index_run.h"
#include "study/plan.h"
#include "train/losses.h"

namespace fci {
namespace {

// Flop a second of all workers together: the best of a few short samples, what others do on the machine left aside.
double measured_peak(int threads) {
    constexpr int rounds = 10000, calls = 10, samples = 12;
    Workers workers(threads ? threads : Workers::available());
    std::vector<float> results(workers.count());
    double best = 1e300;
    for (int s = 0; s < samples; ++s) {
        const auto start = std::chrono::steady_clock::now();
        workers.run(workers.count() * calls, [&](int, int w) { results[w] += multiply_adds(rounds); });
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 1.0 * multiply_adds_a_round * rounds * calls * workers.count() / best;
}

} // namespace

Estimates::Estimates(const Results& results, int threads) : threads_(threads) {
    for (const auto& [hash, result] : results.all()) add(result);
}

void Estimates::add(const Result& r) {
    if (r.on) return;
    const auto [known, first] = by_family_.emplace(family_hash(r.options), r.seconds);
    if (!first) known->second = std::min(known->second, r.seconds); // the others were made beside other work
}

double Estimates::seconds(const Options& o) const {
    if (const auto known = by_family_.find(family_hash(o)); known != by_family_.end()) return known->second;
    if (!learns(o)) return 1; // there is nothing but the data to make
    if (peak_ == 0) peak_ = measured_peak(threads_);
    constexpr double share = 0.6;   // of the peak, which whole steps reach
    constexpr double beside = 70e3; // flop a token, for what is no product: embedding, norms, optimiser
    Options resolved = o;
    resolved.task = resolve(o.task);
    if (router_kind(o.model.router).type == RouterKind::bandit) resolved = trained_first(resolved);
    const double passes = double(o.train.sequences) * o.train.epochs + o.train.test_sequences * o.train.epochs / 3.0;
    return passes * (1e9 * sequence_gflop(resolved) + beside * resolved.task.length) / (share * peak_);
}

} // namespace fci
