// Joint readings: reading their tables, their rows and runs, and the commands that take one.
#include <map>
#include <set>

#include "study/commands.h"
#include "study/plan.h"
#include "study/report.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

namespace {

const Study& study() {
    static const Study s = load_study(find_runs_folder());
    return s;
}

std::vector<std::string> names(const std::vector<Reading>& readings) {
    std::vector<std::string> n;
    for (const Reading& r : readings) n.push_back(r.name);
    return n;
}

Reading reading(const std::string& word) { return select_readings(study().joint, {word}).at(0); }

std::string hash_under(const std::string& row, const std::string& word) {
    const std::vector<Case> cases = plan({under(study().select({row})[0], reading(word))}, study().scale("paper"));
    REQUIRE(cases.size() == 1); // the search sets the learning rate
    return run_hash(cases[0].options);
}

} // namespace

TEST_CASE("readings: a table is the product of its options, in the order of its name", "[study]") {
    const auto read = [](const std::string& toml) { return read_joint("[[joint]]\n" + toml, "a.toml"); };
    const std::vector<Reading> four = read("name = \"{query_row}-k{top_k}\"\nset = \"s\"\ntop_k = [4, 8]\n"
                                           "query_row = [\"key\", \"marker\"]\nlearning_rate = 1e-3\n");
    CHECK(names(four) == std::vector<std::string>{"key-k4", "key-k8", "marker-k4", "marker-k8"});
    CHECK(four[3].settings.values.task.query_row == "marker");
    CHECK(four[3].settings.values.model.top_k == 8);
    CHECK(four[2].settings.values.model.top_k == 4);
    CHECK(four[0].settings.values.train.learning_rate == 1e-3);
    CHECK(four[0].settings.keys.size() == 3);
    CHECK(names(read("name = \"norm\"\nrouter_norm = true\n")) == std::vector<std::string>{"norm"});
    CHECK(read("name = \"norm\"\nheads = [8]\n")[0].settings.values.model.heads == 8);
    CHECK(names(select_readings(four, {"marker-k4", "s"})) ==
          std::vector<std::string>{"marker-k4", "key-k4", "key-k8", "marker-k8"});

    const struct {
        std::string toml, message;
    } bad[] = {
        {"top_k = 8\n", ":1: a [[joint]] needs a name"},
        {"name = \"a\"\n", ":1: the reading a sets no option"},
        {"name = \"a\"\ntop_q = 8\n", ":3: top_q: no such option; did you mean 'top_k'?"},
        {"name = \"a\"\ntop_k = [4, 8]\n",
         ":3: top_k: several values would have the same name: put {top_k} into the name"},
        {"name = \"{top_k}\"\nheads = 8\n", ":2: name = \"{top_k}\": this reading does not set top_k"},
        {"name = \"{top_k\"\ntop_k = 8\n", ":2: name = \"{top_k\": a { without }"},
        {"name = \"{top_k}\"\ntop_k = []\n", ":3: top_k: expected at least one value"},
        {"name = \"{top_k}\"\ntop_k = [4, \"8\"]\n", ":3: top_k: expected an integer"},
        {"name = \"a\"\nquery_row = \"marked\"\n", ":3: query_row = marked: must be one of key, marker"},
        {"name = \"a\"\nseed = 3\n", ":3: seed: a row cannot set this"},
        {"name = \"a b\"\nheads = 8\n", ":1: \"a b\": a reading's name must not have"},
        {"name = \"a@b\"\nheads = 8\n", "must not have '@'"},
        {"name = \"{top_k}\"\ntop_k = [8, 8]\n", ":1: two readings have the name 8"},
        {"name = \"a\"\nset = \"a\"\nheads = [8]\n[[joint]]\nname = \"a\"\nheads = 2\n", ":5: two readings have"},
        {"name = 3\n", ":2: name: expected a string, in quotes"},
    };
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string error = error_of([&] { read(toml); });
        expect_error(error, Exit::usage, message);
        CHECK(error.find("a.toml:") != std::string::npos);
    }
}

TEST_CASE("readings: the search has 24, and rows under them share what comes to the same", "[study]") {
    const std::vector<Reading> search = select_readings(study().joint, {"search"});
    REQUIRE(search.size() == 24);
    CHECK(search[0].name == "key-uniform-same-everywhere");
    CHECK(search[23].name == "marker-fixed-other-in_mixer");
    const auto runs = [&](const std::vector<std::string>& rows) {
        return runs_of(plan(under(study().select(rows), search), study().scale("paper")), 1).size();
    };
    CHECK(runs({"f2.raw"}) == 24);
    CHECK(runs({"f2.content-only"}) == 12);           // it never has positions
    CHECK(runs({"f2.raw", "f2.content-only"}) == 24); // the same as raw without positions
    CHECK(runs({"f2.transformer1"}) == 12);           // attention has positions in both cases
    CHECK(runs({"t1.raw"}) == 4);                     // for mqar: the query's row, and positions
    CHECK(runs({"t1.transformer1"}) == 2);
    CHECK(runs({"s46.flow2", "t2.flow2", "t3.flow2"}) == 24);
    CHECK(under(study().select({"t1.bm25"}), search).size() == 1); // cannot run here: listed once
    // The first reading is every row's default; another is the result of one changed option.
    const std::vector<Case> plain =
        plan(study().select({"f2.raw", "f2.raw@query_row=marker", "t1.raw"}), study().scale("paper"));
    REQUIRE(plain.size() == 6);
    CHECK(hash_under("f2.raw", "key-uniform-same-everywhere") == run_hash(plain[1].options)); // 1e-3
    CHECK(hash_under("f2.raw", "marker-uniform-same-everywhere") == run_hash(plain[3].options));
    CHECK(hash_under("t1.raw", "key-fixed-other-everywhere") == run_hash(plain[5].options));
    CHECK(hash_under("t1.raw", "marker-fixed-other-everywhere") != run_hash(plain[5].options));

    const std::vector<Row> one = study().select({"f2.raw@marker-fixed-same-in_mixer"});
    REQUIRE(one.size() == 1);
    CHECK(one[0].label() == "f2.raw@marker-fixed-same-in_mixer");
    CHECK(one[0].base_label() == "f2.raw");
    CHECK(one[0].settings.values.task.query_at == "fixed");
    CHECK(study().select({"table1@search"}).size() == 2 + 3 * 24); // two of five need hotpotqa
    expect_error(error_of([&] { study().select({"f2.raw@serch"}); }), Exit::usage, "did you mean 'search'?");
    expect_error(error_of([&] { study().select({"f2.rwa@search"}); }), Exit::usage, "did you mean 'f2.raw'?");
    // A row's own setting stays.
    expect_error(error_of([&] { under(study().select({"f2.raw@positions=none"})[0], search[0]); }), Exit::usage,
                 "the row f2.raw@positions=none sets positions = none, and the reading "
                 "key-uniform-same-everywhere");
    CHECK_NOTHROW(under(study().select({"f2.raw@query_row=marker"})[0], reading("marker-fixed-same-everywhere")));
}

TEST_CASE("readings: of a file of one's own, for rows and for one run", "[study][cli]") {
    const Scratch scratch;
    const std::string file = scratch / "mine.toml";
    write_file_atomically(file, "[[joint]]\nname = \"k{top_k}\"\nset = \"ks\"\ntop_k = [1, 2]\nquery_row = \"marker\"\n"
                                "query_at = \"fixed\"\n[[row]]\nid = \"my.raw\"\nrepresentation = \"raw\"\n");
    CHECK(names(select_readings({}, {file})) == std::vector<std::string>{"k1", "k2"});
    CHECK(names(select_readings({}, {file + ":k2", file + ":ks"})) == std::vector<std::string>{"k2", "k1"});
    CHECK(study().select({file}).size() == 1); // with its rows file beside it
    expect_error(error_of([&] { select_readings({}, {file + ":k3"}); }), Exit::usage, "no such reading");
    expect_error(error_of([&] { select_readings({}, {file + "k1"}); }), Exit::usage,
                 "expected FILE.toml or FILE.toml:NAME");
    expect_error(error_of([&] { select_readings(study().joint, {""}); }), Exit::usage, "expected a name");
    write_file_atomically(scratch / "none.toml", "[[row]]\nid = \"a\"\n");
    expect_error(error_of([&] { select_readings({}, {scratch / "none.toml"}); }), Exit::usage, "no [[joint]] in");

    const Words results{"--results", scratch / "results", "--scale", "smoke"};
    const Ran swept =
        run_in(scratch.path, Words{"sweep", file, "t1.raw", "--reading", file + ":ks", "--quiet"} + results);
    expect_ran(swept, 0);
    const Ran table = run(Words{"table", file, "t1.raw", "--reading", file} + results);
    expect_ran(table, 0, "my.raw@k1");
    CHECK(table.out.find("./fci reproduce " + file + " --reading " + file + ":k2 --scale smoke") != std::string::npos);
    CHECK(table.out.find("./fci reproduce t1.raw --reading " + file + ":k1 --scale smoke") != std::string::npos);
    CHECK(table.out.find("not run") == std::string::npos); // my.raw and t1.raw are one run per reading
    const std::string lines = read_file(scratch / "results/smoke.jsonl");
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);

    const Ran by = run(Words{"table", "t1.raw", "t1.flow2", "--by-reading", "--reading", file} + results);
    expect_ran(by, 0, "reading");
    CHECK(by.out.find(file + ":k1") != std::string::npos);
    CHECK(by.out.find("(1)") != std::string::npos);
    CHECK(by.out.find("not run under any of these readings: t1.flow2") != std::string::npos);
    const Ran all = run(Words{"table", "f2.raw", "--by-reading", "--scale", "paper"});
    expect_ran(all, 0, "marker-fixed-other-in_mixer");
    CHECK(all.out.find("(none)") != std::string::npos);

    // One run: options given in addition to the reading stay, and those that its task does not have are left out.
    const Words tiny = tiny_data() + Words{"--d-model",        "16", "--heads",   "2", "--representation", "raw",
                                           "--batch",          "8",  "--threads", "1", "--sequences",      "64",
                                           "--test-sequences", "32", "--epochs",  "1", "--quiet"};
    expect_ran(run(Words{"train", "--reading", file + ":k2", "--out", scratch / "a"} + tiny), 0);
    const std::string config = read_file(scratch / "a/config.toml");
    for (const char* part : {"query_row = \"marker\"", "query_at = \"uniform\"", "top_k = 2"}) {
        INFO(config);
        CHECK(config.find(part) != std::string::npos);
    }
    expect_ran(run(Words{"train", "--reading", file + ":k2", "--query-row", "key", "--out", scratch / "b"} + tiny), 0);
    CHECK(read_file(scratch / "b/config.toml").find("query_row = \"key\"") != std::string::npos);
    expect_refused(run(Words{"train", "--reading", file} + tiny), 2, "names 2 readings, expected one");
    expect_refused(run(Words{"train", "--reading", "key-fixd-same-everywhere"} + tiny), 2,
                   "did you mean 'key-fixed-same-everywhere'?");
    expect_refused(run({"train", "--resume", scratch / "a", "--reading", file + ":k2"}), 2,
                   "a resumed run has the options it was started with");
    expect_refused(run({"train", "--data", scratch / "a", "--reading", file + ":k2"}), 2, "existing sequences");
    expect_refused(run({"plot", "figure2", "--out", scratch / "x.svg", "--reading", "search"}), 2,
                   "names 24 readings, expected one");
}
