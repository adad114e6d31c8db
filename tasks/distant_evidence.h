// DER, distant evidence retrieval (paper, section 3.1): find a pair by its key's content, far from the query.
//
//   far, answer after the query:
//     filler   key value    Q key    key value  key value    filler . . .      key value   filler
//     . . . .   42    9     0  42     42   201   42    77    . . . . . . .      42    17   . . .
//             [distractor]  |   |    [distractor][distractor]                    |     |
//                         q-1   q                                                a   a+1
//             |<- near-window ->|<- near-window ->|
//                               |<----------------- min-distance or more ------->|
//
//   tokens (L)   query = q (query-row marker: q-1, which holds no key)   answer = a   label = x[a+1]
//
// Law, with W = near-window, D = min-distance, V = vocab, n = n-distractors. A pair "at p" fills p and p+1.
// The pairs at a and at the distractors lie in [0,L), overlap neither each other nor q-1, q, and
//                 far, semantic                                        near (the roles swap)
//   answer        |a-q| >= D                                           both tokens in [q-W, q+W]
//   distractors   both tokens in [q-W, q+W], on either side            |p-q| >= D, on either side
//   answer-side   after: a > q;  before: a < q;  either: both          the same
// 1. (q, a) fits if n distractors find room beside it; row q is feasible if some a fits. The key's row q is
//   query-at uniform   uniform over the feasible rows
//            early     uniform over the feasible rows below floor(L/8)
//            fixed     the first feasible row at or after floor(L/10), the same in every sequence: 51 of 512
//   Then a is uniform over those that fit q. Query-row moves the question, not a token: the data are the same.
// 2. The set of n distractor positions is uniform over all sets that the rules allow. Exactly: the allowed positions
//   form runs of s positions each, and j disjoint pairs fit into such a run in C(s+1-j, j) ways. The j of each run
//   are drawn with weights that are products of these counts (in double, so within about 2^-50). Then a uniform
//   j-subset of s+1-j is drawn, and each pair is moved by one place for each pair before it.
//   There is no rejection, so it always ends, however tight the fit.
// 3. k = x[q] and v = x[a+1] uniform in [1,V). x[q-1] = 0, the QUERY marker; no other token is 0.
//    x[a] = k; semantic: uniform over the 4 other tokens of k's concept, concept c = {5c+1 .. 5c+5}.
// 4. Distractors: value uniform in [1,V) without v. Key: k itself (distractor-key same; also in semantic, where the
//   exact match is then the lure and only the meaning leads to the answer), or uniform in
//   [1,V) without k (other; semantic: without k's whole concept).
// 5. Filler: uniform in [1,V) without k (semantic: without k's concept); filler-repeats-key: uniform in [1,V).
//   Values are not filler: v, or a distractor's value, may happen to equal k, since the paper has one range for all
//   tokens. So with distractor-key same the key occurs at q, at a and n more times. In a share
//   1/(V-1) + (V-2)/(V-1) (1 - ((V-3)/(V-2))^n) of the sequences it occurs again: 1.95% have a seventh copy, or more.
#pragma once
#include <array>
#include <vector>

#include "tasks/dataset.h"

namespace fci {

constexpr int concept_size = 5;
inline int concept_of(int token) { return (token - 1) / concept_size; } // of a token >= 1

class DistantEvidence {
public:
    static constexpr int most_distractors = 64; // keeps the counts of step 2 below 1e308 for every L

    // Takes options that resolve() has filled in. O(L).
    explicit DistantEvidence(const TaskOptions& options);

    // Throws Exit::usage if no example can be made, naming the flag and what would fit.
    static void require(const TaskOptions& options);

    const std::vector<int>& rows() const { return rows_; } // rows that q is drawn from, ascending
    std::vector<int> answers(int q) const;                 // the a that fit q, ascending
    void example(Rng& rng, const Example& out) const;

private:
    struct Run {
        int first, last; // positions at which a pair may stand, both included
    };
    struct Runs { // disjoint, ascending, at least two apart
        std::array<Run, 6> run{};
        int count = 0;
        void add(int first, int last);
        Runs without_overlap(int pair) const; // without the positions where a pair would overlap the given pair
        int capacity() const;                 // the most disjoint pairs
        int capacity_beside(int pair) const;  // of without_overlap(pair), without building it
    };
    Runs window(int q, bool before, bool after) const;
    Runs distant(int q, bool before, bool after) const;
    Runs answer_places(int q) const;
    Runs distractor_places(int q) const; // the answer's place is not yet excluded
    bool fits(const Runs& distractors, int a) const;
    bool feasible(int q) const;
    bool in_range(int q) const; // where query-at looks for rows
    std::vector<int> place_distractors(Rng& rng, const Runs& places) const;
    static bool possible(const TaskOptions& options);

    TaskOptions o_;
    bool near_, semantic_, before_, after_;
    std::vector<int> rows_;
};

} // namespace fci
