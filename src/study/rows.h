// Rows: every number of the paper as data. runs/GROUP.toml holds an array of tables:
//
//   [[row]]
//   id = "t1.raw"                                     where = "Table 1"
//   task = "mqar"                                     any option by its flag's name; the others have their defaults
//   representation = "raw"
//   paper = { routing = "25.6", accuracy = "7.6" }    in the paper's notation: x, ~x, <=x, >x, a-b
//
// A list of values for an option makes one row per value; several lists make one row per element of their product, in
// the order of the file. The ids contain the values, x@representation=flow:1,heads=2. learning_rate = [1e-4, 1e-3]
// replaces the scale's rates for this row. A grid of `fci sweep` (study/grid.h) is such a row.
//
// Further keys: reading (for a second row of the same id, where the paper leaves something open), note, seeds (how many
// fci sweep runs without --seeds; 1 if unsaid), measure (shows
// this number of the run's analysis as routing), needs (the row is not run but only listed, until this is available). A
// row with a backbone names the model's subfolder of --backbones; without that folder the row is listed as needing
// weights.
//
//   [[readings]]                                      runs/readings.toml: variants of rows by one option at a time
//   rows = ["f2.raw"]                                 gives the rows f2.raw@positions=in_mixer, f2.raw@positions=none
//   positions = ["in_mixer", "none"]
//
// and joint readings, several options under one name: study/readings.h.
//
// runs/scales.toml: for each scale the defaults that it changes, and the learning rates at which it runs every row;
// [SCALE.TASK] applies to one task only. Options that a row sets itself are kept.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "study/readings.h"

namespace fci {

// What a row's numbers are measured on: its task's own sequences; a HotpotQA file only, by an index; or its own
// sequences and then the file too.
enum class Measured { here, by_index, on_file_too };

struct Row {
    std::string id, group, where, reading, note, needs, measure;
    std::string task, representation, router;               // as words, for lists
    std::vector<std::pair<std::string, std::string>> paper; // quantity, value
    Settings settings;
    std::vector<double> learning_rates; // of a list; empty: the row's single one, or the scale's
    Measured measured = Measured::here;
    std::string file; // file and line of its definition
    int line = 0;
    int64_t seeds = 0;       // that sweep runs unless told how many; 0: unsaid
    bool foreign = false;    // not one of the paper's
    bool by_file = false;    // of a file that is not among runs/: its id alone does not find it
    std::string base, under; // under a joint reading: the id without it, and the reading's word

    std::string label() const { return reading.empty() ? id : id + " (" + reading + ")"; }
    std::string base_label() const { return reading.empty() ? base_id() : base_id() + " (" + reading + ")"; }
    // Do its runs have hashes, by which results are found? With a backbone only once the model's hash is known.
    bool has_runs() const { return needs.empty() || !settings.values.model.backbone_hash.empty(); }
    bool only_listed() const { return !needs.empty() && !settings.values.model.has_backbone(); }
    std::string base_id() const { return under.empty() ? id : base; }
};

struct Scale {
    std::string name;
    std::vector<double> learning_rates; // for rows that set none themselves
    Settings any;
    std::vector<std::pair<std::string, Settings>> tasks; // for one task only
};

struct Study {
    std::string folder;        // runs
    std::vector<Row> rows;     // the paper's
    std::vector<Row> variants; // of readings.toml
    std::vector<Row> own;      // of own/*.toml: not the paper's
    std::vector<Reading> joint;
    std::vector<Scale> scales;

    const Scale& scale(const std::string& name) const; // Exit::usage with the nearest

    // The rows that words name, in the order of the words, each once: an id, a group (table1; own/text is
    // runs/own/text.toml), a FILE.toml, or all (the paper's). ROWS@READING selects them under a joint reading or under
    // each of a set; GRID@OPTION=VALUE is one row of a grid.
    std::vector<Row> select(const std::vector<std::string>& words) const;
};

// The row with those of the reading's options that its task has, as f2.raw@NAME. A row that needs missing files stays
// unchanged. Exit::usage if the row itself sets one of them to another value.
Row under(const Row&, const Reading&);
std::vector<Row> under(const std::vector<Row>&, const std::vector<Reading>&); // all rows under each reading in turn

// ./runs, else runs or share/fci/runs in one of the folders above the program. Exit::usage if none of them exists.
std::string find_runs_folder();

// The rows of a file's text; `known`: rows that its [[readings]] may name.
std::vector<Row> read_rows(const std::string& toml, const std::string& file, const std::vector<Row>& known);

// The file that stores the rows of a sweep over options (study/grid.h); Study::select finds it by the grid's name.
std::string grid_file(const std::string& name);

// Loads all files of the folder. Exit::usage, with file, line and nearest key, for a file that is not valid.
Study load_study(const std::string& folder);

} // namespace fci
