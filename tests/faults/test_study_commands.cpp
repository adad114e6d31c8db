// fci rows, reproduce and table as people use them, in a folder of tiny rows; fci sweep: test_sweep.cpp.
#include "tests/faults/place.h"

using namespace fci;
namespace fs = std::filesystem;

TEST_CASE("reproduce: shows the rows, and compares them with what was recorded", "[cli]") {
    const Place place;
    const Ran first = place({"reproduce", "all", "--seeds", "2"});
    expect_ran(first, 0, "these rows have no recorded results at scale tiny in runs/results");
    CHECK(first.out.find("./fci reproduce b.causal --scale tiny") != std::string::npos);
    CHECK(first.out.find("not run  needs weights") != std::string::npos);
    fs::create_directories(place.scratch / "runs/results");
    fs::copy(place.results(), place.results("runs/results"));
    expect_ran(place({"reproduce", "all", "--seeds", "2"}), 0, "agrees with runs/results: 4 of 5 rows");

    std::string text, line; // the results with a routing of 100%, or another rank
    std::istringstream in(read_file(place.results()));
    while (std::getline(in, line)) {
        Result r = from_json(line, "test").value();
        if (r.options.model.representation == "raw") r.metrics.at_k = 100;
        if (r.options.model.representation.starts_with("causal")) r.analysis["rank"] += 100;
        text += to_json(r) + "\n";
    }
    place.write("runs/results/tiny.jsonl", text);
    const Ran r = place({"reproduce", "one", "--seeds", "2"});
    expect_ran(r, 4, "differs: a.raw at learning rate 1e-2: routing is");
    CHECK(r.err.find("recorded 100, more than") != std::string::npos);
    CHECK(r.err.find("a.transformer") == std::string::npos);
    expect_ran(place({"reproduce", "b.causal", "--seeds", "2"}), 4, "b.causal at learning rate 1e-2: rank is");
    CHECK(r.out.find("other builds") == std::string::npos);
    text = read_file(place.results());
    for (size_t at = 0; (at = text.find("\"git\":\"", at)) != std::string::npos;) text.insert(at += 7, "0");
    place.write("runs/out/results/tiny.jsonl", text);
    expect_ran(place({"reproduce", "b.causal", "--seeds", "2"}), 4, "2 of 2 results come from other builds");
    expect_ran(place({"reproduce", "a.transformer"}), 0, "agrees with runs/results"); // 2 of its 3 seeds
    expect_refused(place({"reproduce"}), 2, "which rows?");
    expect_refused(place({"sweep"}), 2, "which rows?");
}

TEST_CASE("table: own results before recorded ones, which are marked", "[cli]") {
    const Place place;
    expect_ran(place({"sweep", "one", "--results", "runs/results"}), 0);
    const Ran recorded = place({"table"});
    expect_ran(recorded, 0, "* recorded in runs/results, not run here");
    CHECK(recorded.out.find("(1)*") != std::string::npos);
    expect_ran(place({"sweep", "one"}), 0);
    const Ran own = place({"table", "one"});
    expect_ran(own, 0, "(1) ");
    CHECK(own.out.find('*') == std::string::npos);
    expect_ran(place({"table", "one", "--format", "md"}), 0, "| a.raw | routing | 1e-2 | 25.6 |");
    expect_ran(place({"table", "one", "--format", "csv"}), 0, "a.raw,,routing,0.01,25.6,");
    const Ran list = place({"rows"});
    expect_ran(list, 0, "needs weights");
    CHECK(list.out.find("5 rows; time: one seed at each learning rate of scale tiny") != std::string::npos);
}

TEST_CASE("reproduce: rows on HotpotQA are measured on a file and recorded beside their own results", "[cli][hotpot]") {
    const Place place;
    fs::create_directories(place.scratch / "runs/own");
    place.write("runs/own/text.toml", "[[row]]\nid = \"own.text\"\ntask = \"hotpotqa\"\nlength = 96\nvocab = 64\n");
    place.write("runs/index.toml", "[[row]]\nid = \"t1.bm25\"\ntask = \"hotpotqa\"\nrouter = \"bm25\"\n"
                                   "needs = \"hotpotqa\"\npaper = { routing = \"82.7\" }\n");
    std::string real = read_file("tests/golden/hotpotqa.json"); // made to look real by other ids
    place.write("generated.json", real);
    for (size_t at; (at = real.find("generated-")) != std::string::npos;) real.replace(at, 10, "x");
    place.write("real.json", real);
    const auto on_files = [&](const std::string& path) {
        int n = 0;
        if (!fs::exists(path)) return n;
        std::istringstream in(read_file(path));
        for (std::string line; std::getline(in, line);) n += from_json(line, "test")->on.has_value();
        return n;
    };

    const Ran first = place({"reproduce", "own/text", "--seeds", "2", "--data", "real.json"});
    expect_ran(first, 0, "own.text lr 1e-2 seed 1  on real.json: routing");
    CHECK(first.out.find("routing on real.json") != std::string::npos);
    CHECK(first.out.find("real.json: 12 examples (the official dev file has 7,405") != std::string::npos);
    CHECK(first.out.find("are not in the paper") != std::string::npos);
    CHECK(on_files(place.results()) == 2);
    expect_ran(place({"reproduce", "own/text", "--seeds", "2", "--data", "real.json"}), 0, "routing on real.json");
    CHECK(on_files(place.results()) == 2); // not twice
    expect_ran(place({"table", "own/text"}), 0, "all on real.json");
    fs::remove_all(place.scratch / "runs/out/sweep");
    const Ran gone = place({"reproduce", "own/text", "--seeds", "1", "--data", "generated.json"});
    expect_ran(gone, 0);
    CHECK(gone.err.find("not measured on generated.json: its result is known, but ") != std::string::npos);

    const std::string paper = place.scratch / "runs/out/results/paper.jsonl";
    expect_ran(place({"reproduce", "t1.bm25"}), 0, "46,320,117 bytes, SHA-256 4e9ecb5c");
    expect_ran(place({"reproduce", "t1.bm25", "--data", "generated.json"}), 0, "t1.bm25 (generated)");
    CHECK(on_files(paper) == 0);
    expect_ran(place({"table", "t1.bm25"}), 0, "1 row is not run: 1 without hotpotqa");
    expect_ran(place({"reproduce", "t1.bm25", "--data", "real.json"}), 0, "recorded in runs/out/results/paper.jsonl");
    CHECK(on_files(paper) == 1);
    const Ran table = place({"table", "t1.bm25"});
    expect_ran(table, 0, "a sample");
    CHECK(table.out.find("not run") == std::string::npos);
    CHECK(table.out.find("reproduced") == std::string::npos);
    expect_refused(place({"reproduce", "own/text", "--data", "nowhere.json"}), 3, "nowhere.json: cannot be read");
}

TEST_CASE("study commands: what cannot be used is refused", "[cli]") {
    const Place place;
    const struct {
        Words words;
        int code;
        std::string message;
    } bad[] = {
        {{"table", "a.rwa"}, 2, "a.rwa: no such row or group; did you mean 'a.raw'?"},
        {{"sweep", "runs/four.toml"}, 3, "runs/four.toml: cannot be read"},
        {{"sweep", "elsewhere/four.toml"}, 3, "elsewhere/four.toml: cannot be read"},
        {{"sweep", "--shard", "3/2"}, 2, "--shard 3/2"},
        {{"table", "--format", "xml"}, 2, "--format"},
        {{"table", "--frmat", "md"}, 2, "--frmat is not known here; did you mean '--format'?"},
        {{"sweep", "--seeds", "0"}, 2, "--seeds"},
        {{"sweep", "order", "a.raw"}, 2, "order: no such row or group"},
        {{"table", "--seeds", "many"}, 2, "--seeds"},
    };
    for (const auto& [words, code, message] : bad) expect_refused(place(words), code, message);
    CHECK_FALSE(fs::exists(place.scratch / "runs/out"));

    fs::create_directories(place.scratch / "runs/out/results");
    place.write("runs/out/results/tiny.jsonl", "{\"version\":1}\n");
    for (const Words& words : {Words{"table"}, Words{"sweep", "all"}, Words{"rows"}})
        expect_refused(place(words), 3, "runs/out/results/tiny.jsonl:1: not a result");
    place.write("runs/out/results/tiny.jsonl", "{\"version\":0}\n");
    expect_ran(place({"table"}), 0, "1 result of version 0 in runs/out/results/tiny.jsonl is left out");

    place.write("runs/one.toml", "[[row]]\nid = \"a.raw\"\nrepresentatoin = \"raw\"\n");
    expect_refused(place({"rows"}), 2,
                   "runs/one.toml:3: representatoin: no such option; did you mean 'representation'?");
}
