// A command of fci is one entry beside its flags, and one line in commands.cpp; main.cpp asks the list.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

#include "train/run.h"

namespace fci {

struct Command {
    const char *name, *line, *examples; // the line is for `fci --help`, both for `fci NAME --help`
    // Adds the flags; what it returns carries the command out, once they are parsed.
    std::function<Exit()> (*add)(CLI::App&);
};

const std::vector<const Command*>& commands();

// What several commands begin with: options, and what the command line says of them, in order.
struct GivenOptions {
    Options options;
    Given given;

    // Adds flags of the table to a command: whole groups, and single ones by key. What is given is kept in `given`;
    // set() checks and sets it.
    void add_flags(CLI::App&, const std::vector<Option::Group>&, const std::vector<std::string>& keys = {});
    void set();
};

// For CLI::Option::check.
const CLI::Validator& not_empty();

} // namespace fci
