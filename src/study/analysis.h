// Measures of a trained model's representation and router  [Basu 2026, Fig. 3 and Table 2]. For every router:
//   cosine_qa         mean over the test set of cos(h_q, h_a), h the representation of the query row and of the answer
//   cosine_random     the same for 16 pairs of distinct positions per query, drawn uniformly from its sequence
//   cosine_gap        cosine_qa - cosine_random: is the answer nearer than any other token, without a router?
// For investigator and rank1:
//   rank              effective rank of the L x L matrix softmax_rows(S), S_ij the score of position j for row i; mean
//                     over the first `rank_sequences` test sequences
// For investigator only, with W = Wq^T Wk (d,d):
//   wqk_rank          effective rank of W
//   energy90_dims     number of largest singular values that hold 90% of the sum of squares
//   routing_at_k, _1  routing precision on the test set in percent, with the trained weights
//   random_projection, random_projection_at_1
//                     the same with Wq and Wk replaced by random ones drawn from their initial distribution
//   effective rank = exp(-sum p_i ln p_i), p = sigma / sum sigma   [Roy & Vetterli 2007]: n for the identity, 1 for an
//   outer product. A zero vector has cosine 0 with every vector; a zero matrix has rank 0.
#pragma once
#include <map>
#include <span>

#include "train/trainer.h"

namespace fci {

double effective_rank(std::span<const double> singular_values);
int energy_dims(std::span<const double> singular_values, double share); // largest first
double cosine(std::span<const float> a, std::span<const float> b);

constexpr int rank_sequences = 32;

// `measured`: the model's counts on the test set, if already known. `sequences`: number of test sequences for rank,
// which is slow: O(L^3) each. Returns the same bits for any number of threads, and leaves the model unchanged.
std::map<std::string, double> analyse(Trainer&, int sequences = rank_sequences, const Counts* measured = nullptr);

const std::vector<std::string>& analysis_names(); // every name analyse() may return

std::vector<double> routing_spectrum(Trainer&); // singular values of Wq^T Wk, largest first

// `fci analyze`: prints a checkpoint's numbers beside those of the same model at its initial weights, and the run epoch
// by epoch if log.jsonl is in the same folder. `data`: as in trainer_to_measure.
Exit analyze(const std::string& checkpoint, const std::string& data, int sequences, const RunOptions&);

} // namespace fci
