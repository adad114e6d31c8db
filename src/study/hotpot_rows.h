// The paper's rows on HotpotQA, for `fci reproduce`: nothing is trained, so they need a file rather than a sweep. With
// the official file they are t1.bm25 and t1.random; on generated examples they are named t1.bm25 (generated) and stand
// beside no number of the paper. What a file is goes by the ids in it, not by its name.
//   any      is a segment with a supporting sentence among the 2 chosen of 16: what the paper's 82.7% counts
//   all      the stricter question, are all of them
//   recall   the share of them; its chance is 2/16 = 12.5%, the paper's for `any`, whose own chance is higher
#pragma once
#include <string>
#include <vector>

#include "study/rows.h"

namespace fci {

bool on_hotpot(const Row&); // waits for nothing but the data

// Measures these rows on the file, without one on generated examples, and prints them.
void print_hotpot_rows(const std::vector<Row>&, const std::string& data, int threads);

} // namespace fci
