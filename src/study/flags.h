// The flags of the commands about rows: rows, sweep, reproduce and table.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

#include "study/commands.h"

namespace fci {

struct StudyFlags {
    StudyOptions options;
    CLI::App *rows = nullptr, *sweep = nullptr, *reproduce = nullptr, *table = nullptr;
};

// Makes a subcommand: its name, its line in `fci --help`, and the examples of its own --help.
using MakeCommand = std::function<CLI::App*(const char* name, const std::string& line, const std::string& examples)>;

void add_study_commands(StudyFlags&, const MakeCommand&); // `StudyFlags` must stay where it is
std::optional<Exit> run_study_command(const StudyFlags&); // nothing: none of them was asked for

} // namespace fci
