// Grids: `fci sweep --task mqar --representation flow:1,flow:2 --learning-rate 1e-4,1e-3 --name NAME`. A grid is a row
// with lists (study/rows.h), stored as runs/out/sweeps/NAME.toml. NAME then selects its rows, as a group's name does.
// Commas separate values; a comma within a value is written \,
#pragma once
#include <string>
#include <vector>

#include "study/rows.h"
#include "train/run.h"

namespace fci {

// Stores the grid given on the command line, after checking it at this scale. Exit::usage for a value that its option
// does not take, for rows that cannot be run, and for a name that is already in use.
// seeds: what --seeds says, or 0; the last number given is kept with the grid.
void keep_grid(const Study&, const Scale&, const std::string& name, const Given& given, int64_t seeds);

// The options that differ between the rows, including learning_rate, in the order in which the rows set them.
std::vector<std::string> varied_keys(const std::vector<Row>&);

} // namespace fci
