// Rows: every number of the paper as data. runs/GROUP.toml holds an array of tables:
//
//   [[row]]
//   id = "t1.raw"                                     where = "Table 1"
//   task = "mqar"                                     any option by its flag's name; the others have their defaults
//   representation = "raw"
//   paper = { routing = "25.6", accuracy = "7.6" }    as the paper has it: x, ~x, <=x, >x, a-b
//
// A list of values for an option makes a row of each: of several lists, of their product, in the order of the file.
// Their ids say which, x@representation=flow:1,heads=2. learning_rate = [1e-4, 1e-3] is what the row runs at in place
// of the scale's rates. A grid of `fci sweep` (study/grid.h) is such a row.
//
// and also: reading (a second row of the same id, for what the paper leaves open), note, measure (the number shown as
// routing is this one of the run's analysis), needs (what a row waits for that is not run: it is listed only). A row
// with a backbone names the model's folder within that of --backbones, and needs weights where it is not there.
//
//   [[readings]]                                      runs/readings.toml: rows by the values of one option at a time
//   rows = ["f2.raw"]                                 gives the rows f2.raw@positions=in_mixer, f2.raw@positions=none
//   positions = ["in_mixer", "none"]
//
// and joint readings, several options under one name: study/readings.h.
//
// runs/scales.toml: what each scale changes of the defaults, and the learning rates it runs every row at; [SCALE.TASK]
// for one task only. What a row sets itself stands.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "study/readings.h"

namespace fci {

// What a row's numbers are measured on: its task's own sequences; a HotpotQA file alone, by an index; or its own
// sequences, and then the file too.
enum class Measured { here, by_index, on_file_too };

struct Row {
    std::string id, group, where, reading, note, needs, measure;
    std::string task, representation, router;               // as words, for lists
    std::vector<std::pair<std::string, std::string>> paper; // quantity, value
    Settings settings;
    std::vector<double> learning_rates; // of a list; else its own one, or the scale's
    Measured measured = Measured::here;
    std::string file; // and line: where it stands
    int line = 0;
    bool foreign = false;    // not of the runs folder: known by its file only
    std::string base, under; // under a joint reading: the id without it, and --reading's word for it

    std::string label() const { return reading.empty() ? id : id + " (" + reading + ")"; }
    std::string base_label() const { return reading.empty() ? base_id() : base_id() + " (" + reading + ")"; }
    // Whether its runs have hashes, by which results are found: of a backbone only once what is in it is known.
    bool has_runs() const { return needs.empty() || !settings.values.model.backbone_hash.empty(); }
    bool only_listed() const { return !needs.empty() && !settings.values.model.has_backbone(); }
    std::string base_id() const { return under.empty() ? id : base; }
};

struct Scale {
    std::string name;
    std::vector<double> learning_rates; // where a row sets none itself
    Settings any;
    std::vector<std::pair<std::string, Settings>> tasks; // of one task only
};

struct Study {
    std::string folder;        // runs
    std::vector<Row> rows;     // the paper's
    std::vector<Row> variants; // of readings.toml
    std::vector<Reading> joint;
    std::vector<Scale> scales;

    const Scale& scale(const std::string& name) const; // Exit::usage with the nearest

    // The rows that words name, in their order, each once: an id, a group (table1), a FILE.toml, own/text for
    // runs/own/text.toml, or all (the paper's); ROWS@READING for them under a joint reading, or all of a set.
    std::vector<Row> select(const std::vector<std::string>& words) const;
};

// The row with the reading's options, as far as its task has them; f2.raw@NAME. A row that needs what is not here stays
// what it is. Exit::usage where the row has another value for one of them itself.
Row under(const Row&, const Reading&);
std::vector<Row> under(const std::vector<Row>&, const std::vector<Reading>&); // all rows under the first, then ...

// ./runs, else runs or share/fci/runs in one of the folders above the program; Exit::usage where there is neither.
std::string find_runs_folder();

// The rows of a file's text; `known`: those that its [[readings]] may name.
std::vector<Row> read_rows(const std::string& toml, const std::string& file, const std::vector<Row>& known);

// Where the rows of a sweep over options are kept (study/grid.h), for Study::select to find them by its name.
std::string grid_file(const std::string& name);

// All of it. Exit::usage names file, line and nearest key.
Study load_study(const std::string& folder);

} // namespace fci
