// What was expected before it was run: runs/registered.toml says of each row under each joint reading of a set whether
// it routes, fails or is open, why, and whether that was seen somewhere before.
//
//   set = "search"                  the readings (study/readings.h)
//   scale = "paper"                 the runs it is about
//   before = ["81b409d63b9e3c5c"]   hashes of runs that were begun before the file was there: no forecast
//   arithmetic = ["f2.raw"]         rows that arithmetic fixes under some reading: no score counts them
//   (study/search.h)
//
//   [[registered]]
//   rows = ["f2.raw"]
//   entries = [
//       ["marker-*", "fails", "unseen", "the row that asks holds no key"],
//   ]
//
// An entry has the readings, by their names as a shell matches them; what is expected: routes, 95% or more, fails, no
// more than 3 points above chance, or open, no forecast; unseen, or the size at which it was seen: L 48 (mqar: L 34),
// L 128, L 512 (mqar: L 256); and why. Of a row and a reading the first entry that covers both counts.
//
// A result must come from a build whose commit has this file with the same entry for it (all of expect, seen and why)
// and the same reading, so an entry is never changed once something ran under it; tests/test_registered.cpp asks git. Of
// a commit that git does not have, because its branch was lost, the last commit before the result's day counts instead.
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
        std::string readings = "*";    // their names, as a shell would match them
        int line = 0;
        bool covers(const std::string& row, const Reading&) const;
    };
    std::string file, set, scale;
    std::vector<std::string> before;     // hashes
    std::vector<std::string> arithmetic; // rows
    std::vector<Entry> entries;
    std::vector<Reading> readings; // of the set

    std::vector<std::string> rows() const; // as named, each once
    // Of a row by its label. null: none.
    const Expectation* find(const std::string& row, const std::string& reading) const;
};

// Exit::usage names file, line and nearest word: of an entry that says what cannot be, that covers nothing which those
// above it leave, or of a row that some reading is left open for.
Registered read_registered(const std::string& toml, const std::string& file, const std::vector<Reading>& joint);
Registered load_registered(const Study&); // runs/registered.toml; its rows must be there

// "routes", "fails" or "between", as the entries say it.
std::string outcome_of(double routing, double chance);

// A row under a reading, and what is expected of it.
struct Cell {
    Case of;
    Expectation expected;
    std::vector<std::string> also; // further cells of the same run: mqar under readings of der
};
std::vector<Cell> cells_of(const Registered&, const Study&);

// What the runs of a cell came to, on the epochs' test set; nothing: no result, or none with routing.
struct Came {
    double ours = 0, chance = 0; // means over seeds; chance: the exact one where there is one
    int seeds = 0;
    bool before = false; // all were begun before the file was there
    std::string outcome; // outcome_of()
};
std::optional<Came> came_of(const Registered&, const Cell&, const Results& own, const Results& recorded, int64_t seeds,
                            ControlsOfRows&);
bool is_wrong(const Cell&, const Came&); // a forecast that did not come out

// Expectation beside outcome of the cells that have results, among them of these rows (base labels; empty: all), then
// how many came out as expected. csv: all cells.
std::string registered_text(const Registered&, const std::vector<Cell>&, const std::vector<std::string>& rows,
                            const Results& own, const Results& recorded, const TableOptions&);

} // namespace fci
