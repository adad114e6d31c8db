// The list of what to run next: reading it, and the runs that the repository's list asks for.
#include <set>

#include "study/order.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

namespace {

const Study& study() {
    static const Study s = load_study(find_runs_folder());
    return s;
}

} // namespace

TEST_CASE("order: entries are read, and a wrong one is refused by line and nearest key", "[study][order]") {
    const std::string start = "scale = \"paper\"\n[[entry]]\nwhat = \"x\"\n";
    const Order order = read_order(start + "rows = [\"f2.raw\", \"s46.flow2\"]\nseeds = [2, 5]\nlearning_rates = "
                                           "[1e-3]\n[[entry]]\nwhat = \"y\"\nrows = [\"f2.raw\", \"t2.raw\"]\n"
                                           "seeds = [2]\nagain = true\n",
                                   "o.toml");
    const std::vector<PlannedEntry> entries = runs_of(order, study());
    REQUIRE((entries.size() == 2 && entries[0].runs.size() == 4 && entries[1].runs.size() == 2));
    CHECK(entries[0].runs[1].label.starts_with("s46.flow2 lr 1e-3 seed 2")); // by seed, then by row
    CHECK(entries[0].runs[2].label.starts_with("f2.raw lr 1e-3 seed 5"));
    CHECK(entries[1].runs[0].label.starts_with("f2.raw and 1 more lr 3e-4 seed 2"));
    CHECK((!entries[0].runs[0].again && entries[1].runs[0].again));
    CHECK(all_runs(entries).size() == 6); // a run with `again` also counts as the run without it

    // Rows of runs/own, by file or by id; those of a model that is not there are left out, and the entry says so.
    const std::vector<PlannedEntry> own =
        runs_of(read_order(start + "rows = [\"own/backbones\"]\nseeds = [1]\n[[entry]]\nwhat = \"y\"\nrows = "
                                   "[\"own.text.raw\"]\nseeds = [1]\n",
                           "o.toml"),
                study());
    REQUIRE(own.size() == 2);
    CHECK((own[0].runs.empty() && own[0].what == "x: needs weights"));
    CHECK((!own[1].runs.empty() && own[1].runs[0].label.starts_with("own.text.raw lr")));

    const struct {
        std::string toml, message;
    } bad[] = {
        {"[[entry]]\nwhat = \"x\"\nrows = [\"all\"]\nseeds = [1]\n", "scale = \"...\" is missing"},
        {"scale = \"paper\"\nentries = []\n", ":2: entries: unknown key, expected scale or [[entry]]"},
        {start + "rows = [\"all\"]\n", ":2: an [[entry]] needs what, rows and seeds"},
        {start + "row = [\"all\"]\n", ":4: [[entry]] row: must be one of what, rows"},
        {start + "rows = []\nseeds = [1]\n", ":4: rows: expected at least one"},
        {start + "rows = \"all\"\n", ":4: rows: expected an array, in [ ]"},
        {start + "seeds = [0]\n", ":4: seeds: expected integers from 1"},
        {start + "seeds = [1.5]\n", ":4: seeds: expected integers from 1"},
        {start + "learning_rates = [\"high\"]\n", ":4: learning_rates: expected numbers"},
        {start + "stop_after = 0\n", ":4: stop_after: expected a number of epochs"},
        {start + "again = 1\n", ":4: again: expected true or false"},
        {start + "rows = [\"f2.raw\"]\nreading = [\"serch\"]\nseeds = [1]\n",
         ":2: --reading serch: no such reading; did you mean 'search'?"},
    };
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string error = error_of([&] { runs_of(read_order(toml, "o.toml"), study()); });
        expect_error(error, Exit::usage, message);
        CHECK(error.find("o.toml") != std::string::npos);
    }
}

TEST_CASE("order: the repository's asks for the search first, and for three seeds of every row", "[study][order]") {
    const Order order = load_order(study());
    CHECK(order.scale == "paper");
    const std::vector<PlannedEntry> entries = runs_of(order, study());
    std::set<std::string> asked, first;
    for (const PlannedRun& r : all_runs(entries)) asked.insert(r.hash);
    for (const PlannedRun& r : entries[0].runs) first.insert(r.hash);
    for (const PlannedRun& r : runs_of(plan(study().select({"all"}), study().scale("paper")), 3)) {
        INFO(r.label);
        CHECK(asked.contains(r.hash));
    }
    const std::vector<Row> rows = study().select({"f2.raw@search", "f2.content-only@search"});
    CHECK(rows.size() == 48);
    for (const PlannedRun& r : runs_of(plan(rows, study().scale("paper")), 1)) CHECK(first.contains(r.hash));
}

TEST_CASE("order: as people ask for it", "[study][order][cli][recorded]") {
    expect_ran(run({"sweep", "order", "--scale", "paper", "--status"}), 0, "stage 1 of the search");
    expect_refused(run({"sweep", "order"}), 2, "order.toml is for --scale paper, not small");
}
