// Expectations written before the runs: for each row under each joint reading of a set, runs/registered.toml says
// whether the row routes, fails or is open, why, and whether that had been seen before.
//
//   set = "search"                  the readings (study/readings.h)
//   scale = "paper"                 the scale of the runs
//   before = ["81b409d63b9e3c5c"]   hashes of runs begun before the file existed: no forecasts
//   arithmetic = ["f2.raw"]         rows that arithmetic fixes under some reading: left out of every score
//                                   (study/search.h)
//
//   [[registered]]
//   rows = ["f2.raw"]
//   entries = [
//       ["marker-*", "fails", "unseen", "the row that asks holds no key"],
//   ]
//
// An entry has four parts. The readings: a shell pattern of their names. The expectation: routes (95% or more), fails
// (no more than 3 points above chance) or open (no forecast). Whether it was seen: unseen, or the size at which it was
// seen: L 48 (mqar: L 34), L 128, L 512 (mqar: L 256). And why. For a row and a reading, the first entry that covers
// both counts.
//
// A result must come from a build whose commit has this file with the same entry for it (all of expect, seen and why)
// and the same reading, so an entry is never changed once a run was made under it; tests/test_registered.cpp checks
// this with git. If git does not have that commit, because its branch was lost, the last commit before the result's day
// counts instead.
#pragma once
#include <string>
#include <vector>

#include "study/report.h"

namespace fci {

struct Expectation {
    std::string expect, seen, why;
    bool operator==(const Expectation&) const = default;
};

struct Registered {
    struct Entry : Expectation {
        std::vector<std::string> rows; // labels
        std::string readings = "*";    // shell pattern of their names
        int line = 0;
        bool covers(const std::string& row, const Reading&) const;
    };
    std::string file, set, scale;
    std::vector<std::string> before;     // hashes
    std::vector<std::string> arithmetic; // rows
    std::vector<Entry> entries;
    std::vector<Reading> readings; // of the set

    std::vector<std::string> rows() const; // as named, each once
    // The expectation of a row, given its label; null: none.
    const Expectation* find(const std::string& row, const std::string& reading) const;
};

// Exit::usage, with file, line and nearest word, for an entry with an unknown word, for an entry that covers nothing
// which the entries above it leave, and for a row without an entry for some reading.
Registered read_registered(const std::string& toml, const std::string& file, const std::vector<Reading>& joint);
Registered load_registered(const Study&); // runs/registered.toml; its rows must exist

// "routes", "fails" or "between", by the limits that entries use.
std::string outcome_of(double routing, double chance);

// A row under a reading, and its expectation.
struct Cell {
    Case of;
    Expectation expected;
    std::vector<std::string> also; // further cells with the same run: mqar under readings that only der has
};
std::vector<Cell> cells_of(const Registered&, const Study&);

// The outcome of a cell's runs, on the epochs' test set; nothing if there is no result, or none with routing.
struct Came {
    double ours = 0, chance = 0; // means over seeds; chance: exact if known
    int seeds = 0;
    bool before = false; // all were begun before the file existed
    std::string outcome; // outcome_of()
};
std::optional<Came> came_of(const Registered&, const Cell&, const Results& own, const Results& recorded, int64_t seeds,
                            ControlsOfRows&);
bool is_wrong(const Cell&, const Came&); // a wrong forecast

// A table of expectation and outcome for the cells that have results, limited to these rows (base labels; empty: all),
// then how many came out as expected. csv: all cells.
std::string registered_text(const Registered&, const std::vector<Cell>&, const std::vector<std::string>& rows,
                            const Results& own, const Results& recorded, const TableOptions&);

} // namespace fci
