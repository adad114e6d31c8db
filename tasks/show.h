// Examples as pictures for people:
//
//   position    50   51   52   53                60   61                350   351
//   token      QRY   42   17    9  … 6 more …   42   77  … 288 more …   42    17  … 160 more …
//   role             ask                        d1   .1                KEY   VAL
//   router                                      #2                       #1
//   From row 51 (key 42) the router must choose 350 (key 42); the answer is 17.
//   It chose #1 350 (3.10, right), #2 60 (2.95).
//
// Roles: QRY the marker token 0 (der), ask the query row, key the query's key if it is in another row, KEY VAL the
// answer's pair, dN .N the distractor pairs, kN vN the pairs of mqar (with many queries aN, the query for pair N). Only
// these positions and their neighbours are shown; runs of filler are counted. A line wraps at `width` columns.
#pragma once
#include <cstdio>
#include <vector>

#include "tasks/dataset.h"

namespace fci {

// Where the router looked for one query: positions, best first, and their scores (may be empty).
struct Looked {
    std::vector<int> positions;
    std::vector<float> scores;
};

struct ShowStyle {
    bool colour = false; // ANSI escapes
    int width = 100;     // of the terminal
};

// Prints example i of `data` and, with `looked` (one entry per query), the router's choices. `annotation` may be null,
// as for data from a file: then distractors are not marked. Exit::internal if it cannot be written.
void show_example(std::FILE* out, const Dataset& data, int i, const Annotation* annotation, const ShowStyle& style,
                  const std::vector<Looked>* looked = nullptr);

// Prints the first `count` examples of (options, seed, stream), each under a title. looked, if given, has count *
// queries entries, example by example.
void show_examples(std::FILE* out, const TaskOptions& options, uint64_t seed, int count, const ShowStyle& style,
                   const std::vector<Looked>* looked = nullptr, Stream stream = Stream::train_data);

} // namespace fci
