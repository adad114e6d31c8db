// A dataset as a folder, for other programs and from them: NumPy arrays and a description.
//
//   tokens.npy  (count, length)  int32      query.npy  answer.npy  label.npy  (count, queries)  int32
//   dataset.json
//     { "format": "fci dataset 1",                  required
//       "vocab": 256,                               required: tokens and labels are in [0, vocab)
//       "count": 8000, "length": 512, "queries": 1, optional; if there, they must agree with the arrays
//       "seed": 1,                                  optional, for people
//       "options": { "task": "der", ... } }         optional: the task's options by their flags' names
//
// Written: NPY 1.0, '<i4', C order; all of the above. Read: NPY 1.0 or 2.0, '<i4' or '<i8' (narrowed, range
// checked), C order; query, answer and label may also be (count), for one query. With no dataset.json, vocab
// is the largest token or label + 1, rounded up to a multiple of 64.
// [NumPy, "NEP 1: A simple file format for NumPy arrays"]
#pragma once
#include <string>
#include <string_view>

#include "tasks/dataset.h"

namespace fci {

// Makes `dir` if need be. Exit::usage if it is not empty; Exit::internal, with the path and the system's
// reason, if it or a file cannot be written (the files begun are removed).
void save_dataset(const std::string& dir, const Dataset& data, const TaskOptions& options, uint64_t seed);

// Exit::bad_data for anything that is not as above, naming the file, what is wrong, and the row and column or
// the byte: truncated or too long, rows out of [0, length), tokens or labels out of [0, vocab), shapes that
// disagree, unknown keys, and so on. `options` gets the options of dataset.json, and stays as it is without.
Dataset load_dataset(const std::string& dir, TaskOptions* options = nullptr);

// The parts, in npy.cpp (the above is in dataset_folder.cpp).
struct NpyArray {
    int rows = 0, columns = 0; // both at least 1
    std::vector<int32_t> x;    // (rows, columns)
};
void save_npy(const std::string& path, const std::vector<int32_t>& x, int rows, int columns);
NpyArray load_npy(const std::string& path, bool one_dimension_too); // (n) is read as (n, 1)

// Files whole, in one call.
} // namespace fci
