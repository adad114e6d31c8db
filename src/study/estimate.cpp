#include "study/estimate.h"

#include <algorithm>
#include <chrono>

#include "core/gemm.h"
#include "core/workers.h"
#include "study/plan.h"
#include "train/work.h"

namespace fci {
namespace {

// Flop a second of all workers together: the best of a few short samples, what others do on the machine left aside.
double measured_rate(int threads) {
    constexpr int m = 512, n = 128, calls = 10, samples = 12; // a linear layer's product
    use_one_blas_thread();
    Workers workers(threads ? threads : Workers::available());
    const std::vector<float> a(m * n, 1.f), b(n * n, 1.f);
    std::vector<std::vector<float>> c(workers.count(), std::vector<float>(m * n));
    double best = 1e300;
    for (int s = 0; s < samples; ++s) {
        const auto start = std::chrono::steady_clock::now();
        workers.run(workers.count() * calls, [&](int, int w) {
            gemm(Transpose::no, Transpose::yes, m, n, n, 1.f, a.data(), n, b.data(), n, 0.f, c[w].data(), n);
        });
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 2.0 * m * n * n * calls * workers.count() / best;
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
    if (rate_ == 0) rate_ = measured_rate(threads_);
    constexpr double share = 0.6;   // of that rate, which whole steps reach
    constexpr double beside = 70e3; // flop a token at that rate, for what is no product: embedding, norms, optimiser
    Options resolved = o;
    resolved.task = resolve(o.task);
    const double passes = double(o.train.sequences) * o.train.epochs + o.train.test_sequences * o.train.epochs / 3.0;
    return passes * (1e9 * sequence_gflop(resolved) + beside * resolved.task.length) / (share * rate_);
}

} // namespace fci
