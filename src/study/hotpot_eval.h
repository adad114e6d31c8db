// Retrieval on HotpotQA by indices that learn nothing, and the chance of a blind choice.
//   units       segments: the sentences of all paragraphs in order, without titles; segment i of 16 is the sentences
//               [floor(n i/16), floor(n (i+1)/16)); examples of fewer than 16 sentences are left out and counted.
//               sentences; paragraphs
//   methods     bm25 (routing/bm25.h), bloom (ranks by how many of the query's distinct words the unit has, ties to the
//               lower index), random (drawn without replacement from (seed, example))
// Of N units k are chosen; G units hold a supporting sentence. The measures are means over examples, in percent:
//   any, all                 is one of the G among the chosen; are all of them
//   recall                   share of the G that are chosen
//   fact_precision, fact_recall, fact_f1, fact_em    the chosen units' sentences as predicted supporting facts, scored
//                                                    as in the official evaluation: sets of (title, index); a fact that
//                                                    names no sentence always counts as missed
// Chance is exact: the mean over all C(N,k) choices. any: 1 - C(N-G,k)/C(N,k); recall: k/N; the others from the number
// of choices of each size and content, counted unit by unit (hypergeometric where all units have the same size). Where
// titles repeat, sentences with the same (title, index) are one sentence for `all` and the facts' measures; beyond 12
// units that share names with each other, chance counts each name for its first unit only. Interval, 95%: Wilson's for
// any, all and fact_em; mean +- 1.96 s/sqrt(n) for the others.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "routing/bm25.h"
#include "tasks/hotpotqa.h"

namespace fci {

inline const std::vector<std::string> hotpot_methods{"bm25", "bloom", "random"},
    hotpot_unit_names{"segments", "sentences", "paragraphs"}, hotpot_tokenisers{"whitespace", "letters"},
    bm25_variants{"okapi", "lucene"};

struct HotpotOptions {
    std::string method = "bm25";          // bm25 | bloom | random
    std::string unit = "segments";        // segments | sentences | paragraphs
    std::string tokeniser = "whitespace"; // whitespace | letters
    int top_k = 2, segments = 16;
    int64_t seed = 1; // for bloom and random
    Bm25Options bm25;
};

// Exit::usage for a word or number that cannot be used.
void check_hotpot(const HotpotOptions&);

// The retrieval in one example.
struct HotpotFound {
    std::vector<uint32_t> begins;     // start of each unit, and the end
    std::vector<double> scores;       // of the units
    std::vector<int> chosen, correct; // units: best first; those with a supporting sentence, ascending
    bool all = false;                 // the (title, index) of every fact is among the chosen
};

struct HotpotMeasure {
    static constexpr std::array names = {"any", "all", "recall", "fact_precision", "fact_recall", "fact_f1", "fact_em"};
    std::array<double, names.size()> value{}, chance{}; // of one example, 0 to 1
};

// Bounds of an example's units; empty if it has too few sentences or no supporting one, and so is left out.
std::vector<uint32_t> hotpot_units(const HotpotExample&, const HotpotOptions&);
HotpotFound find_hotpot(const HotpotExample&, int64_t index, const HotpotOptions&, WordIndex& scratch);
HotpotMeasure measure_hotpot(const HotpotExample&, const HotpotFound&);

struct HotpotResult {
    struct Number {
        double value = 0, low = 0, high = 0, chance = 0; // percent
    };
    int64_t examples = 0, too_short = 0, without_support = 0; // measured, left out
    double correct_units = 0;                                 // mean number of units with a supporting sentence
    std::array<Number, HotpotMeasure::names.size()> numbers;
    double seconds = 0;             // of searching and measuring
    std::vector<HotpotFound> found; // with `keep`: one per example, empty where left out
};

// The same bits for any number of threads.
HotpotResult evaluate_hotpot(const std::vector<HotpotExample>&, const HotpotOptions&, Workers&, bool keep = false);

} // namespace fci
