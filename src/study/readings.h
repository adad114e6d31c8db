// Joint readings: a name for several options at once of what the paper leaves open. Tables [[joint]] of
// runs/readings.toml, or of a file of one's own:
//
//   [[joint]]
//   name = "{query_row}-{query_at}"           gives key-uniform, key-fixed, marker-uniform and marker-fixed
//   set = "search"                            one name for all of them
//   query_row = ["key", "marker"]             a value, or several: the readings are the product
//   query_at = ["uniform", "fixed"]
//   learning_rate = 1e-3
//
// A row under a reading (study/rows.h) is the row with the reading's options, as far as its task has them: of mqar
// query_at and distractor_key say nothing, so rows of mqar under many readings share one run.
#pragma once
#include <string>
#include <vector>

#include "train/options.h"

namespace fci {

// Some options and their values.
struct Settings {
    Options values;
    std::vector<std::string> keys;

    bool has(const std::string& key) const;
    void apply(Options& to) const;
    std::string text(const std::string& key) const; // a value as a word
};

struct Reading {
    std::string name, set; // set: may be empty
    std::string word;      // by which --reading finds it: the name, or FILE.toml:NAME
    Settings settings;
    std::string file; // and line: where it stands
    int line = 0;

    // Its options that a task has; `task`: with its own options. Those that it would refuse are left out.
    Settings of_task(const TaskOptions& task) const;
};

// The [[joint]] tables of a file. Exit::usage names file, line and nearest key.
std::vector<Reading> read_joint(const std::string& toml, const std::string& file);

// The readings that words name, in their order, each once: a name or set of `known`, FILE.toml for all of a file,
// FILE.toml:NAME for one name or set of it. Exit::usage with the nearest.
std::vector<Reading> select_readings(const std::vector<Reading>& known, const std::vector<std::string>& words);

} // namespace fci
