// A trained model asked about sequences of one's own, without labels: what `fci route` does.
#pragma once
#include <string>
#include <vector>

#include "tasks/dataset.h"
#include "train/options.h"

namespace fci {

// Sequences with the rows that ask. Out of
//   a folder           tokens.npy, and query.npy where it is there (tasks/npy.h)
//                      or Zoology's inputs.npy and labels.npy, which say the rows (load_zoology)
//   a file FILE.npy    tokens
//   any other, or -    text: a sequence a line, of token ids; after a | the rows that ask:  17 4 9 0 0 4 | 5
// - is standard input. Where no row is named the last one asks; empty lines are passed over. Exit::bad_data, with the
// line or row, for tokens out of [0,vocab), rows out of [0,length) or another length.
struct Questions {
    int length = 0, vocab = 0;
    std::vector<std::vector<int32_t>> tokens, rows; // one a sequence

    static Questions read(const std::string& path, int length, int vocab);
    static Questions in_text(const std::string& text, const std::string& name, int length, int vocab);
};

// A line for each row that asks, in the order of the sequences, on standard output: tab-separated under a heading, or
// with how.json an object. The positions chosen (of a segment router the first of each segment) with their scores, best
// first; the answer and its probability. Nothing is printed unless all sequences are good.
Exit route(const std::string& checkpoint, const std::string& data, const RunOptions& how);

} // namespace fci
