// Rows on HotpotQA and a file of the user's, for `fci reproduce --data FILE`.
//
// The paper's t1.bm25 and t1.random: nothing is trained, so they need a file rather than a sweep. Their results on it
// are recorded at scale paper, since nothing is scaled down, and shown at every scale. On generated examples they are
// named t1.bm25 (generated), are not compared with the paper and are not recorded. The ids in a file, not its name,
// tell whether it is generated. A verdict is given only on a file with the official dev file's size and number of
// examples.
//   any      is a segment with a supporting sentence among the 2 chosen of 16: what the paper's 82.7% counts
//   all      the stricter question, are all of them
//   recall   the share of them; its chance is 2/16 = 12.5%, the paper's for `any`, whose own chance is higher
//
// Rows that learn to route on text (tasks/hotpot_text.h; beyond the paper): the models that the sweep trained and left
// in its run folders are measured on the file too. These results are recorded beside the runs' own.
#pragma once
#include <string>
#include <vector>

#include "study/results.h"
#include "study/rows.h"
#include "study/sweep.h"
#include "tasks/hotpotqa.h"

namespace fci {

Options index_options(const Row&);        // key to the results of a row measured by an index
bool is_official(const MeasuredOn&);      // by size and number of examples
std::string file_text(const MeasuredOn&); // describes the file in one sentence

struct HotpotData {
    MeasuredOn file; // examples 0: no file was given
    std::vector<HotpotExample> examples;
};
HotpotData load_hotpot_data(const std::string& path, int threads); // reports examples left out on standard error

// Measures these rows on the file, or on generated examples if there is no file, and prints them. Results on a file of
// real examples are added to the results.
void measure_index_rows(const std::vector<Row>&, const HotpotData&, const std::string& results, int threads);

// Measures the models that a sweep trained on the file, unless that is recorded already, and adds the results. Reports
// runs without a checkpoint.
void measure_text_runs(const std::vector<PlannedRun>&, const HotpotData&, const SweepOptions&);

} // namespace fci
