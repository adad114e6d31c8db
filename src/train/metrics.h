// The numbers of a run in words and as JSON.
#pragma once
#include <string>
#include <vector>

#include "core/json.h"
#include "train/trainer.h"

namespace fci {

// Which numbers a run has.
struct Applicable {
    bool routes, answers, several; // has a router; has labels; has several correct positions
    bool has_neighbours;           // chosen places are positions, so that each has a neighbour

    explicit Applicable(const Trainer&);
};

// {"routing_at_k":99.3,...,"chance":{...}}
Json metrics_json(const Counts&, const std::optional<Chance>&, const Applicable&); // of unknown chance: null
// The same for people, a row a measurement under a heading, at most 44 letters wide:
//   "  routing@4  routing@1   accuracy"
//   "      99.3%      98.1%      51.9%"
std::string metrics_heading(const Options&, const Applicable&);
std::string metrics_row(const Counts&, const Applicable&);
std::string metrics_row(const Chance&, const Applicable&);
std::string no_chance(const Trainer&); // why it is not known, a line
Json cut_json(const Dataset&);
// Adds what a run's object for --json ends with, and prints it.
void print_json(Json&, const Trainer&, const std::string& folder = "");

// Of the final test.
// {"queries":10000,"routing_at_k":99.3,...,"routing_neighbours":...,"routing_strict":...,"routing_ties":...}
Json final_json(const Counts&, const Applicable&);
std::vector<std::string> closer_look(const Counts&, const Applicable&); // what has no column, in sentences

// Ends the line that says that a run is done: "; the transition was in epoch 5". epoch 0: none.
std::string transition_text(int64_t epoch, const std::optional<Chance>&);

} // namespace fci
