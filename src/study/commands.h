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
    int64_t seeds = 0;     // 0: the command's default
    RunOptions how;        // threads, device, precision
    int jobs = 1;
    std::string name; // sweep: name of a grid (study/grid.h), and its options
    Given grid;
    int stop_after = 0;                // sweep: epochs
    std::vector<std::string> readings; // joint readings, or sets of them
    bool by_reading = false;           // table: a matrix of readings and rows
    bool registered = false;           // table: expectations beside outcomes
    bool claims = false;               // table: the paper's claims, judged by their rows' verdicts
    bool coverage = false;             // table: how many ids have run, with how many seeds
    bool score = false;                // table: the search's survivors, and how close they are to the paper
    bool status = false, quiet = false;
};

Exit list_rows(const StudyOptions&);
Exit run_sweep(const StudyOptions&);
Exit reproduce(const StudyOptions&); // Exit::differs: a row differs from the recorded results
Exit show_table(const StudyOptions&);

// The one reading that `word` names, from the study or from a file. Exit::usage if it names none or several.
Reading one_reading(const Study*, const std::string& word);
// fci train --reading: sets the reading's options that the task has, except those in `given`.
void apply_reading(Options&, const std::string& word, const Given& given);

} // namespace fci
