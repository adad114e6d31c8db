// A dataset as a folder, to exchange with other programs: NumPy arrays and a description.
//
//   tokens.npy  (count, length)  int32      query.npy  answer.npy  label.npy  (count, queries)  int32
//   dataset.json
//     { "format": "fci dataset 1",                  required
//       "vocab": 256,                               required: tokens and labels are in [0, vocab)
//       "count": 8000, "length": 512, "queries": 1, optional; if there, they must agree with the arrays
//       "seed": 1,                                  optional, for people
//       "options": { "task": "der", ... } }         optional: the task's options by their flags' names
//
// Written: NPY 1.0, '<i4', C order; all of the above. Read: NPY 1.0 or 2.0, integers of 1 to 8 bytes, signed or
// unsigned, in either byte order (narrowed, range checked), C order; query, answer and label may also be (count), for
// one query. Without dataset.json, vocab is the largest token or label + 1, rounded up to a multiple of 64.
//
// Or in Zoology's layout of MQAR [Arora et al. 2024; github.com/HazyResearch/zoology,
// zoology/data/associative_recall.py]:
//  inputs.npy  labels.npy  (count, length)   label -100: no question at this row; else the token to answer, at the row
//                                            that asks for it
// in a folder, or as two files: the path names the one with `inputs` in its name, and the other has `labels` instead.
// Zoology stores no correct position; it is the first one before the query that holds the query's token and is followed
// by the answer, as in the mqar task. If sequences have different numbers of queries, each is repeated once for each of
// its queries, since a Dataset has the same number in every sequence; a sequence without queries is left out.
// [NumPy, "NEP 1: A simple file format for NumPy arrays"]
#pragma once
#include <string>
#include <string_view>

#include "tasks/dataset.h"

namespace fci {

// Creates `dir` if necessary. Exit::usage if it is not empty; Exit::internal, with the path and the system's reason, if
// the folder or a file cannot be written (unfinished files are removed).
void save_dataset(const std::string& dir, const Dataset& data, const TaskOptions& options, uint64_t seed);

// Exit::bad_data for any deviation from the above, naming the file, the error, and the row and column or the byte:
// truncated or too long, rows out of [0, length), tokens or labels out of [0, vocab), shapes that disagree, unknown
// keys, and so on. `options` gets the options of dataset.json, and is unchanged if there are none.
Dataset load_dataset(const std::string& dir, TaskOptions* options = nullptr);

bool is_zoology(const std::string& path);      // a folder of Zoology's arrays, or the file of inputs
Dataset load_zoology(const std::string& path); // zoology.cpp; Exit::bad_data as above
int vocab_of(int64_t largest_token);           // largest_token + 1, rounded up to a multiple of 64

// The parts, in npy.cpp (the rest is in dataset_folder.cpp).
struct NpyArray {
    int rows = 0, columns = 0; // both at least 1
    std::vector<int32_t> x;    // (rows, columns)
};
std::string npy_header(const char* type, const std::vector<int>& shape); // for two dimensions or more; type: <i4, <f4
void save_npy(const std::string& path, const std::vector<int32_t>& x, int rows, int columns);
NpyArray load_npy(const std::string& path, bool one_dimension_too); // (n) is read as (n, 1)

} // namespace fci
