// Routers that learn no gradient, run from data to result. None has a Council, so accuracy does not apply.
//
// linucb thompson oful (routing/bandit.h). The answer's segment is given, an arm is one of its L/16 tokens, the reward
// 1 for the answer and 0 otherwise: once through the training set in index order, which is random already, then
// measured on the test set by theta_hat alone. h: token embeddings, without positions, of a raw model trained first
// with the same options. Context of arm j: [h_q ; h_j] (concat) or h_q o h_j (product). at_k = at_1 = share of test
// queries whose answer the greedy arm is. With concat, theta . [h_q ; h_j] is a number for q plus one for j: all arms
// get the same for q, so the greedy choice cannot depend on q at all. What it learns is which tokens are answers more
// often, not to compare.
//
// bloom (routing/bloom.h), a filter of 256 bits and 3 hashes a segment. at_k, at_1: the answer's segment is among the
// first k, is the first.
//
// random, blind (routing/index.cpp): k positions drawn without looking; the best content-blind rule that the training
// set shows, which comes out at chance but for what the sets leave to luck.
//
// Chance: as in train/chance.h; of a bandit that of a rule that also knows the answer's segment, of bloom that of
// segments.
#pragma once
#include <map>

#include "train/progress.h"
#include "train/run.h"
#include "train/trainer.h"

namespace fci {

// Of a bandit's run: the options of the raw model that is trained first.
inline Options trained_first(Options bandit) {
    bandit.model.router = "investigator";
    return bandit;
}

struct IndexOutcome {
    Counts counts;
    std::optional<Counts> final; // of the final test, where there is one
    Chance chance;
    std::map<std::string, double> extra; // percent, unless said
    // bandits  online_reward_last_tenth: of the pass through the training set
    //          raw_routing_at_k, raw_routing_at_1: of the raw model's own router, over all positions
    // bloom    false_positive_rate, and false_positive_theory (mean of the formula): of the segments without the key;
    //          candidates: a query, a number
    uint64_t data_hash = 0;
    double seconds = 0;
    Options options; // as the data left them
};

// The same bits for any number of threads. `progress` may be null. Exit::interrupted once a SignalGuard's stop_asked().
IndexOutcome run_index(const Options& resolved, Progress* progress = nullptr);

// `fci train --router ROUTER` of these: runs and prints; nothing is saved.
Exit train_index(const Options&, const Given&);

} // namespace fci
