// A command of fci is one entry beside its flags, and one line in commands.cpp; main.cpp asks the list.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

#include "train/run.h"

namespace fci {

struct Command {
    const char *name, *line, *examples; // the line is for `fci --help`, both for `fci NAME --help`
    // Adds the flags and returns the function that carries the command out once they are parsed.
    std::function<Exit()> (*add)(CLI::App&);
};

const std::vector<const Command*>& commands();

// Options, with those that the command line gave, in order.
struct GivenOptions {
    Options options;
    Given given;
    bool lists = false; // every flag takes a word that is kept as it is: of fci sweep a list

    // Adds flags of the table to a command: whole groups, and single ones by key, all but some. What is given is kept
    // in `given`; set() checks and sets it.
    void add_flags(CLI::App&, const std::vector<Option::Group>&, const std::vector<std::string>& keys = {},
                   const std::vector<std::string>& but = {});
    void set();
};

// Once all are added: of flags without a value --quiet=VALUE is refused, but for a yes or no, as CLI11 would fail at
// it.
void check_flags(CLI::App&);

// Of a checkpoint whose model has a backbone: where that is now, and where its features are kept.
void add_backbone_flags(CLI::App&, RunOptions&);

// The checkpoint that a command is about, under these names.
CLI::Option* add_checkpoint(CLI::App&, const std::string& names, std::string& path);

// For CLI::Option::check.
const CLI::Validator& not_empty();

} // namespace fci
