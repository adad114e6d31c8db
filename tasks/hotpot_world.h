// Examples in HotpotQA's format, generated offline from templates over an invented world: they have the format of
// HotpotQA without its text. They are for tests, speed and demonstration; results on them say nothing about the real
// data.
//
//   bridge      work -> its maker -> the maker's birthplace, award or teacher;  person -> birthplace -> its river
//   comparison  of two people or two works: which was earlier, or whether they were born in one town (yes, no)
//
// 10 paragraphs in random order: 2 that the answer needs, and 8 that share words with the question: the same kind of
// work, the trade, a town, the surname or a word of the title. The number of sentences of a paragraph is drawn from the
// counts in real examples (mean 4.2). The facts name the needed sentence of each supporting paragraph, sometimes also
// the first one. Names are put together from syllables, so that no real person or place is meant. Example i is a
// function of (seed, stream, i): the same on every machine and for any number of threads.
#pragma once
#include "core/rng.h"
#include "tasks/hotpotqa.h"

namespace fci {

HotpotExample make_hotpot_example(uint64_t seed, Stream stream, int64_t i);
bool is_generated(const HotpotExample&); // by its id, generated-SEED-STREAM-I
std::vector<HotpotExample> make_hotpot(int count, uint64_t seed, Stream stream, Workers&);

} // namespace fci
