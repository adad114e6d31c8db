#include "study/estimate.h"

#include <algorithm>
#include <chrono>

#include "core/gemm.h"
#include "core/workers.h"
#include "study/plan.h"

namespace fci {
namespace {

// Work of one training sequence, forward and backward: products of the blocks; what has no products (embedding, scores,
// council, head) at its cost beside them, measured as 70 kflop a token.
double sequence_flops(const Options& options) {
    Options o = options;
    o.task = resolve(o.task);
    const std::string& text = o.model.representation;
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon);
    const double number = colon == std::string::npos ? 1 : std::atof(text.c_str() + colon + 1);
    const double L = o.task.length, d = o.model.d_model, dense = 72 * d * d * L, mamba = 6 * L * 2 * d * 3.6 * d;
    const double rest = 70e3 * L;
    if (kind == "raw" || kind == "content-only") return rest;
    if (kind == "flow") return rest + number * 1.6 * mamba;
    if (kind == "bidir-flow") return rest + number * 3.2 * mamba;
    if (kind == "global-mean") return rest + 6 * d * d;
    if (kind == "fourier" || kind == "linear-attention") return rest + number * 1.5 * dense;
    if (kind == "sparse-transformer") return rest + number * (dense + 14 * 48 * L * d);
    if (kind == "perceiver") return rest + dense + 28 * L * number * d;
    if (kind == "budgeted-attention") return rest + number * dense + 14 * number * L * number * L * d;
    const double pairs = kind == "causal-transformer" ? 0.5 : 1;
    return rest + number * (dense + 14 * pairs * L * L * d);
}

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

void Estimates::add(const Result& r) { by_family_[family_hash(r.options)] = r.seconds; }

double Estimates::seconds(const Options& o) const {
    if (const auto known = by_family_.find(family_hash(o)); known != by_family_.end()) return known->second;
    if (!learns(o)) return 1; // there is nothing but the data to make
    if (rate_ == 0) rate_ = measured_rate(threads_);
    constexpr double share = 0.6; // of that rate, which whole steps reach
    const double passes = double(o.train.sequences) * o.train.epochs + o.train.test_sequences * o.train.epochs / 3.0;
    return passes * sequence_flops(o) / (share * rate_);
}

} // namespace fci
