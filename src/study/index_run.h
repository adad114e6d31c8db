// Routers that are not trained by gradients, run from data to result. None has a Council, so accuracy does not apply.
//
// linucb thompson oful (routing/bandit.h). The answer's segment is given, an arm is one of its L/16 tokens, and the
// reward is 1 for the answer and 0 otherwise. The bandit passes once through the training set in index order, which is
// random already; then theta_hat alone is measured on the test set. h: token embeddings, without positions, of a raw
// model trained first with the same options. Context of arm j: [h_q ; h_j] (concat) or h_q o h_j (product). at_k and
// at_1: share of test queries whose answer is the greedy arm. With concat, theta . [h_q ; h_j] is a term for q plus a
// term for j. The term for q is the same for all arms, so the greedy choice cannot depend on q. The bandit learns which
// tokens are answers more often, but not to compare.
//
// bloom (routing/bloom.h), a filter of 256 bits and 3 hashes per segment. at_k, at_1: the answer's segment is among the
// first k, is the first.
//
// random, blind (routing/index.cpp): k positions drawn without looking; the best content-blind rule found on the
// training set, which scores at chance up to random differences between the sets.
//
// Chance: as in train/chance.h; for a bandit that of a rule that also knows the answer's segment, for bloom that of
// segments.
#pragma once
#include <map>

#include "train/progress.h"
#include "train/run.h"
#include "train/trainer.h"

namespace fci {

// The options of the raw model that is trained before a bandit's run.
inline Options trained_first(Options bandit) {
    bandit.model.router = "investigator";
    return bandit;
}

struct IndexOutcome {
    Counts counts;
    std::optional<Counts> final; // of the final test, if there is one
    Chance chance;
    std::map<std::string, double> extra; // percent, unless stated
    // bandits  online_reward_last_tenth: reward in the last tenth of the pass through the training set
    //          raw_routing_at_k, raw_routing_at_1: the raw model's own router, over all positions
    // bloom    false_positive_rate, and false_positive_theory (mean of the formula): over the segments without the key;
    //          candidates: number per query
    uint64_t data_hash = 0;
    double seconds = 0;
    Options options; // after the data were made or read
};

// Returns the same bits for any number of threads. `progress` may be null. Exit::interrupted once a SignalGuard's
// stop_asked() is true.
IndexOutcome run_index(const Options& resolved, Progress* progress = nullptr);

// `fci train --router ROUTER` for these routers: runs and prints; saves nothing.
Exit train_index(const Options&, const Given&);

} // namespace fci
