// Joint readings: a reading is a named choice of several options that the paper leaves open. They are tables [[joint]]
// of runs/readings.toml, or of the user's own file:
//
//   [[joint]]
//   name = "{query_row}-{query_at}"           gives key-uniform, key-fixed, marker-uniform and marker-fixed
//   set = "search"                            one name for all of them
//   query_row = ["key", "marker"]             one value, or several: the readings are the product
//   query_at = ["uniform", "fixed"]
//   learning_rate = 1e-3
//
// A row under a reading (study/rows.h) is the row with those of the reading's options that its task has. mqar has
// neither query_at nor distractor_key, so rows of mqar under many readings share one run.
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
    std::string word;      // as --reading selects it: the name, or FILE.toml:NAME
    Settings settings;
    std::string file; // file and line of its definition
    int line = 0;

    // Those of its options that a task has; `task`: the task with its own options. Options that the task would refuse
    // are left out.
    Settings of_task(const TaskOptions& task) const;
};

// The [[joint]] tables of a file. Exit::usage, with file, line and nearest key, for tables that are not valid.
std::vector<Reading> read_joint(const std::string& toml, const std::string& file);

// The readings that words name, in the order of the words, each once: a name or set of `known`, FILE.toml for all of a
// file, FILE.toml:NAME for one name or set in it. Exit::usage with the nearest name.
std::vector<Reading> select_readings(const std::vector<Reading>& known, const std::vector<std::string>& words);

} // namespace fci
