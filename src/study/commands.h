// What `fci rows`, `sweep`, `reproduce` and `table` do.
#pragma once
#include <string>
#include <vector>

#include "core/check.h"
#include "train/options.h"

namespace fci {

struct StudyOptions {
    std::vector<std::string> words; // ids, groups, files, or all
    std::string scale = "small", results = "runs/out/results", shard, format = "text";
    std::string data;  // reproduce: a HotpotQA file
    int64_t seeds = 0; // 0: the command's own
    RunOptions how;    // threads, device, tf32
    int jobs = 1;
    bool status = false, quiet = false;
};

Exit list_rows(const StudyOptions&);
Exit run_sweep(const StudyOptions&);
Exit reproduce(const StudyOptions&); // Exit::differs: a row is not what was recorded
Exit show_table(const StudyOptions&);

} // namespace fci
