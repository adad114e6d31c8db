// What to run next: runs/order.toml, one list that serves the search, the record and runs on GPUs. `fci sweep order`
// goes through its entries from the top and leaves out what is done.
//
//   scale = "paper"
//
//   [[entry]]
//   what = "stage 1 of the search"               for --status
//   rows = ["f2.raw", "f2.content-only"]         ids, groups or all, as fci sweep takes them
//   reading = ["search"]                         under these joint readings or sets; without: the rows as they are;
//                                                survivors: those that survive stage 1 of the search (study/search.h)
//   seeds = [1]
//   learning_rates = [1e-3]                      of the rates that the rows run at only these; without: all
//   stop_after = 15                              epochs; such a result stands for no row (study/results.h)
//   again = true                                 a result without a final test does not count as done
//
// A run that several rows or entries ask for is made once, where the first of them stands. What is recorded in
// runs/results counts as done too.
#pragma once
#include "study/search.h"
#include "study/sweep.h"

namespace fci {

struct OrderEntry {
    std::string what;
    std::vector<std::string> rows, readings;
    bool survivors = false; // under those of the search
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

// Exit::usage names file, line and nearest key.
Order read_order(const std::string& toml, const std::string& file);
Order load_order(const Study&); // runs/order.toml

// Its runs, entry by entry. Exit::usage for rows and readings that are not there, and for an entry without a run, but
// for one whose survivors are not known yet.
std::vector<PlannedEntry> runs_of(const Order&, const Study&, const std::vector<Reading>& survivors = {});

// The entries in parts: what survivors are is known when all above is done, so there another part begins.
std::vector<Order> parts_of(const Order&);

} // namespace fci
