// The commands `fci rows`, `sweep`, `reproduce` and `table`.
#pragma once
#include <string>
#include <vector>

#include "core/check.h"
#include "study/results.h"
#include "study/rows.h"
#include "train/run.h"

namespace fci {

struct StudyOptions {
    std::vector<std::string> words; // ids, groups, files, or all
    std::string scale = "small", results = default_results, shard, format = "text";
    std::string data;      // reproduce: a HotpotQA file
    std::string backbones; // folder of the pretrained models' folders
    int64_t seeds = 0;     // 0: the command's own
    RunOptions how;        // threads, device, tf32
    int jobs = 1;
    std::string name; // sweep: of a grid (study/grid.h), and its words
    Given grid;
    int stop_after = 0;                // sweep: epochs
    std::vector<std::string> readings; // joint ones, or sets of them
    bool by_reading = false;           // table: readings by rows
    bool registered = false;           // table: what was expected beside what came out
    bool claims = false;               // table: the paper's claims, by their rows' verdicts
    bool coverage = false;             // table: how many ids have run with how many seeds
    bool score = false;                // table: what survives the search, and how near it comes to the paper
    bool status = false, quiet = false;
};

Exit list_rows(const StudyOptions&);
Exit run_sweep(const StudyOptions&);
Exit reproduce(const StudyOptions&); // Exit::differs: a row is not what was recorded
Exit show_table(const StudyOptions&);

// The one reading that `word` names, of the study or of a file. Exit::usage: none, or several.
Reading one_reading(const Study*, const std::string& word);
// fci train --reading: sets its options, as far as the task has them, but not those that are `given`.
void apply_reading(Options&, const std::string& word, const Given& given);

} // namespace fci
