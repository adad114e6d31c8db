// What to run next: runs/order.toml, one list for the search, the record and runs on GPUs. `fci sweep order` works
// through its entries from the top and skips runs that are done.
//
//   scale = "paper"
//
//   [[entry]]
//   what = "stage 1 of the search"               shown by --status
//   rows = ["f2.raw", "f2.content-only"]         ids, groups or all, as in fci sweep; those of runs/own too
//   reading = ["search"]                         joint readings or sets to run the rows under; default: no reading;
//                                                survivors: those that survive stage 1 of the search (study/search.h)
//   seeds = [1]
//   learning_rates = [1e-3]                      only these of the rates that the rows run at; default: all of them
//   stop_after = 15                              epochs; such a result is no row's result (study/results.h)
//   again = true                                 a result without a final test does not count as done
//
// If several rows or entries ask for the same run, it is done once, at the place of the first of them. Runs recorded in
// runs/results count as done too.
#pragma once
#include "study/search.h"
#include "study/sweep.h"

namespace fci {

struct OrderEntry {
    std::string what;
    std::vector<std::string> rows, readings;
    bool survivors = false; // under the search's survivors
    std::vector<int64_t> seeds;
    std::vector<double> learning_rates;
    bool again = false;
    int stop_after = 0;
    int line = 0;
};

struct Order {
    std::string file, scale;
    std::vector<OrderEntry> entries;
};

// Exit::usage, with file, line and nearest key, for a file that is not valid.
Order read_order(const std::string& toml, const std::string& file);
Order load_order(const Study&); // runs/order.toml

// Its runs, entry by entry. Exit::usage for rows and readings that do not exist, and for an entry without runs, except
// one whose survivors are not known yet or whose rows need files that are not there.
std::vector<PlannedEntry> runs_of(const Order&, const Study&, const std::vector<Reading>& survivors = {});

// The entries in parts. The survivors are known only when all earlier entries are done, so a new part begins there.
std::vector<Order> parts_of(const Order&);

} // namespace fci
