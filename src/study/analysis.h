// What a trained model's representation and router look like  [Basu 2026, Fig. 3 and Table 2]. For every router:
//   cosine_qa         mean over the test set of cos(h_q, h_a), h the representation of query row and answer
//   cosine_random     the same of 16 pairs of distinct positions a query, drawn uniformly from its sequence
//   cosine_gap        cosine_qa - cosine_random: is the answer nearer than any other token, without a router?
// For investigator and rank1:
//   rank              effective rank of the L x L matrix softmax_rows(S), S_ij the score of position j for row i;
//                     mean over the first test sequences (`rank_sequences` of them)
// For investigator alone, W = Wq^T Wk (d,d):
//   wqk_rank          effective rank of W
//   energy90_dims     how many of the largest singular values hold 90% of the sum of squares
//   routing_at_k, _1  routing precision in percent on the test set, as it is
//   random_projection, random_projection_at_1
//                     and with Wq and Wk replaced by random ones of the distribution that they start from
//   effective rank = exp(-sum p_i ln p_i), p = sigma / sum sigma   [Roy & Vetterli 2007]: n for the identity, 1 for
//   an outer product. A vector without length has cosine 0 with all; a matrix of zeros has rank 0.
#pragma once
#include <map>
#include <span>

#include "train/trainer.h"

namespace fci {

double effective_rank(std::span<const double> singular_values);
int energy_dims(std::span<const double> singular_values, double share); // the largest come first
double cosine(std::span<const float> a, std::span<const float> b);

constexpr int rank_sequences = 32;

// `measured`: the model's counts on the test set, where they are known already. `sequences`: for rank, the slow one:
// O(L^3) each. The same bits for any number of threads; the model is as it was when it returns.
std::map<std::string, double> analyse(Trainer&, int sequences = rank_sequences, const Counts* measured = nullptr);

const std::vector<std::string>& analysis_names(); // all that analyse() may give

std::vector<double> routing_spectrum(Trainer&); // the singular values of Wq^T Wk, the largest first

// `fci analyze`: a checkpoint's numbers beside those of the same model at its start values, and its run epoch by epoch
// where log.jsonl lies beside it. `data`: as trainer_to_measure takes it.
Exit analyze(const std::string& checkpoint, const std::string& data, int sequences, const RunOptions&);

} // namespace fci
