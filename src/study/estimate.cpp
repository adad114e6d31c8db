#include "study/estimate.h"

#include <algorithm>

#include "core/device.h"
#include "core/peak.h"
#include "routing/router.h"
#include "study/index_run.h"
#include "study/plan.h"
#include "train/losses.h"

namespace fci {
namespace {

double measured_peak(int threads) {
    Workers workers(threads ? threads : Workers::available());
    return measured_peak(workers);
}

} // namespace

Estimates::Estimates(const Results& results, const RunOptions& how)
    : gpu_(how.device != "cpu" && find_gpu().present), threads_(how.threads) {
    for (const auto& [hash, result] : results.all()) add(result);
}

void Estimates::add(const Result& r) {
    if (r.on || made_on_gpu(r) != gpu_) return;
    const auto [known, first] = by_family_.emplace(family_hash(r.options), r.seconds);
    if (!first) known->second = std::min(known->second, r.seconds); // slower runs shared the machine with other work
}

double Estimates::seconds(const Options& o) const {
    if (const auto known = by_family_.find(family_hash(o)); known != by_family_.end()) return known->second;
    if (!learns(o)) return 1; // only the data are made
    if (peak_ == 0) peak_ = measured_peak(threads_);
    constexpr double share = 0.6;   // share of the peak that whole steps reach
    constexpr double beside = 70e3; // flop per token outside products: embedding, norms, optimiser
    Options resolved = o;
    resolved.task = resolve(o.task);
    resolve_backbone(resolved); // the backbone's work, done once for all runs, is left out
    if (router_kind(o.model.router).type == RouterKind::bandit) resolved = trained_first(resolved);
    const double passes = (o.train.sequences + o.train.test_sequences / 3.0) * o.train.all_epochs();
    return passes * (1e9 * sequence_gflop(resolved) + beside * resolved.task.length) / (share * peak_);
}

} // namespace fci
