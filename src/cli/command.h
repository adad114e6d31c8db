// A command of fci is one entry next to its flags, and one line in commands.cpp; main.cpp uses this list.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

#include "train/run.h"

namespace fci {

struct Command {
    const char *name, *line, *examples; // `fci --help` shows the line, `fci NAME --help` both
    // Adds the flags and returns the function that runs the command once they are parsed.
    std::function<Exit()> (*add)(CLI::App&);
};

const std::vector<const Command*>& commands();

// Options, and which of them the command line gave, in order.
struct GivenOptions {
    Options options;
    Given given;
    bool lists = false; // every flag takes any word, unchanged: a list of fci sweep

    // Adds flags of the table to a command: whole groups, and single ones by key, except those in `but`. Flags that the
    // user gives are stored in `given`; set() checks and sets them.
    void add_flags(CLI::App&, const std::vector<Option::Group>&, const std::vector<std::string>& keys = {},
                   const std::vector<std::string>& but = {});
    void set();
};

// To be called after all flags are added: refuses --quiet=VALUE for flags without a value, unless VALUE is a yes or no,
// since CLI11 would fail at it.
void check_flags(CLI::App&);

// For a checkpoint whose model has a backbone: the backbone's folder now, and the folder for its features.
void add_backbone_flags(CLI::App&, RunOptions&);

// The command's checkpoint, as a flag or argument with these names.
CLI::Option* add_checkpoint(CLI::App&, const std::string& names, std::string& path);

// --precision of a GPU's products, for commands that do not take all options of a run.
CLI::Option* add_precision(CLI::App&, std::string& name);

// For CLI::Option::check.
const CLI::Validator& not_empty();

} // namespace fci
