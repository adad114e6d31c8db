// Rows on HotpotQA and a file of the user's, for `fci reproduce --data FILE`.
//
// The paper's t1.bm25 and t1.random: nothing is trained, so they need a file rather than a sweep. What they do on it is
// recorded as results of scale paper, of which nothing is scaled down, and shown at every scale. On generated examples
// they are named t1.bm25 (generated), stand beside no number of the paper and are not recorded. What a file is goes by
// the ids in it, not by its name; a verdict is given only on one of the official dev file's size and number of
// examples.
//   any      is a segment with a supporting sentence among the 2 chosen of 16: what the paper's 82.7% counts
//   all      the stricter question, are all of them
//   recall   the share of them; its chance is 2/16 = 12.5%, the paper's for `any`, whose own chance is higher
//
// Rows that learn to route on text (tasks/hotpot_text.h; beyond the paper): their trained models, as the sweep left
// them in their run folders, are measured on the file too, and that is recorded beside their own results.
#pragma once
#include <string>
#include <vector>

#include "study/results.h"
#include "study/rows.h"
#include "study/sweep.h"
#include "tasks/hotpotqa.h"

namespace fci {

Options index_options(const Row&);        // by which the results of a row measured by an index are found
bool is_official(const MeasuredOn&);      // by size and number of examples
std::string file_text(const MeasuredOn&); // what a file is, in a sentence for people

struct HotpotData {
    MeasuredOn file; // examples 0: none was named
    std::vector<HotpotExample> examples;
};
HotpotData load_hotpot_data(const std::string& path, int threads); // says on standard error what was left out

// Measures these rows on the file, without one on generated examples, and prints them; what is on a file of real
// examples is added to the results.
void measure_index_rows(const std::vector<Row>&, const HotpotData&, const std::string& results, int threads);

// Measures on the file what a sweep trained, where that is not recorded yet, and adds it to the results. Says of which
// runs there is no checkpoint.
void measure_text_runs(const std::vector<PlannedRun>&, const HotpotData&, const SweepOptions&);

} // namespace fci
