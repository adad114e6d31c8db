// The numbers of a run in words and as JSON.
#pragma once
#include <string>

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
Json metrics_json(const Counts&, const Chance&, const Applicable&);
// "routing@4 99.3% (chance 25.0)  @1 98.1% (6.2)  accuracy 51.9% (6.2)"
std::string metrics_text(const Counts&, const Chance&, const Options&, const Applicable&);
Json cut_json(const Dataset&);

// Of the final test.
// {"queries":10000,"routing_at_k":99.3,...,"routing_neighbours":...,"routing_strict":...,"routing_ties":...}
Json final_json(const Counts&, const Applicable&);
std::string final_text(const Counts&, const Options&, const Applicable&);

} // namespace fci
