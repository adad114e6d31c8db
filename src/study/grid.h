// Grids: `fci sweep --task mqar --representation flow:1,flow:2 --learning-rate 1e-4,1e-3 --name NAME`. A grid is a row
// with lists (study/rows.h), kept as runs/out/sweeps/NAME.toml, and NAME then stands for its rows like a group's name.
// A comma stands between two values; one that belongs to a value is written \,
#pragma once
#include <string>
#include <vector>

#include "study/rows.h"
#include "train/run.h"

namespace fci {

// Keeps the grid of these words of the command line, checked at this scale. Exit::usage for a value that its option
// does not take, for rows that cannot be run, and for a name that stands for something else already.
void keep_grid(const Study&, const Scale&, const std::string& name, const Given& given);

// The options that differ between the rows, learning_rate among them, in the order in which they set them.
std::vector<std::string> varied_keys(const std::vector<Row>&);

} // namespace fci
