// Results as files, and the table made from them. Verdicts are in test_verdict.cpp.
#include <cmath>

#include "core/files.h"
#include "study/hotpot_rows.h"
#include "study/report.h"
#include "tests/catch.h"
#include "tests/scratch.h"
#include "train/run.h"

using namespace fci;

namespace {

Options options(const std::string& toml) {
    Options o;
    read_toml(o, toml, "test");
    return o;
}

Result result(const std::string& toml, const std::string& scale = "tiny") {
    Result r;
    Options o = options(toml);
    resolve(o);
    r.hash = run_hash(o), r.scale = scale, r.seed = o.train.seed;
    r.metrics = {99.5, 51.25, 1.0 / 3}, r.chance = {24.6, 6.4, 6.9};
    r.queries = 1000, r.transition_epoch = 5;
    r.analysis = {{"rank", 1.625}, {"cosine_gap", -0.1}};
    r.curve = {{1, 10.5, 2, 0.1}, {2, 99.5, 51.25, 1.0 / 3}};
    r.seconds = 1.5;
    r.provenance = provenance_json(o, 0x0123456789abcdef);
    r.options = o;
    return r;
}

// A result of a planned run, on the data that its options give.
Result of_case(const Case& c, int64_t seed) {
    Result r = result("", "paper");
    r.options = c.seeded(seed);
    r.hash = run_hash(r.options), r.seed = seed;
    Options o = r.options;
    o.run.threads = 2;
    resolve(o);
    const TrainerData d = make_data(o);
    r.provenance = provenance_json(r.options, hash_of(d.train, d.test));
    return r;
}

} // namespace

TEST_CASE("results: what an emulator or a mock of a GPU gave is no result", "[study]") {
    const Scratch scratch;
    append_result(scratch.path, result(""));
    for (const std::string device : {"emulator", "mock of CUDA, an H100 that computes nothing"}) {
        Result r = result("seed = 2");
        const std::string cpu = "\"device\":\"cpu\"";
        r.provenance.replace(r.provenance.find(cpu), cpu.size(), "\"device\":\"" + device + "\"");
        append_result(scratch.path, r);
    }
    std::vector<std::string> notes;
    CHECK(Results(scratch.path, "tiny", notes).all().size() == 1);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].starts_with("2 results in "));
}

TEST_CASE("results: a result reads back as it was written", "[study]") {
    const Scratch scratch;
    std::vector<std::string> notes;
    CHECK(Results(scratch.path, "tiny", notes).all().empty()); // no file, no results
    Result none = result("router = \"none\"\nseed = 2");
    none.metrics.at_k = none.metrics.at_1 = std::nullopt, none.transition_epoch = 0;
    Result tested = result("seed = 3"); // fields that older results lack
    tested.final = FinalTest{{99.25, 50.5, {}}, 99.75, 99.125, {}, 10000};
    append_result(scratch / "new/folder", result(""));
    append_result(scratch / "new/folder", none);
    append_result(scratch / "new/folder", tested);
    const Results read(scratch / "new/folder", "tiny", notes);
    CHECK(notes.empty());
    CHECK(read.all().size() == 3);
    CHECK(to_json(tested).find("\"final\":{\"routing_at_k\":99.25,\"routing_at_1\":50.5,\"accuracy\":null,\"queries\":"
                               "10000,\"routing_neighbours\":99.75,\"routing_strict\":99.125,\"routing_ties\":null}") !=
          std::string::npos);
    for (const Result& r : {result(""), none, tested}) {
        const Result* same = read.find(r.hash);
        REQUIRE(same);
        CHECK(same->final.has_value() == r.final.has_value());
        CHECK(to_json(*same) == to_json(r)); // every number to the last bit
        CHECK(write_toml(same->options) == write_toml(r.options));
    }
    none.analysis["rank"] = NAN;
    expect_error(error_of([&] { append_result(scratch / "new/folder", none); }), Exit::non_finite, "NaN or Inf: rank");
    CHECK_FALSE(read.find("0000000000000000"));
    CHECK(read.of_seeds(options("router = \"none\""), 0).size() == 1);
    CHECK(read.of_seeds(options("router = \"none\""), 1).empty());

    Result later = result("");
    later.seconds = 7;
    append_result(scratch / "new/folder", later); // of a run's two lines, the later one counts
    CHECK(Results(scratch / "new/folder", "tiny", notes).find(later.hash)->seconds == 7);
}

TEST_CASE("results: what is measured on a file stands beside a run's own result", "[study]") {
    const Scratch scratch;
    std::vector<std::string> notes;
    Result own = result(""), on = own, other = own, second = result("seed = 2");
    on.on = MeasuredOn{"a \"b\".json", "00000000000000ff", 500, 3191224, false}, on.metrics.at_k = 30;
    other.on = MeasuredOn{"c.json", "00000000000000aa", 7, 9, true}, other.metrics.at_k = 20;
    second.on = on.on, second.metrics.at_k = 32;
    for (const Result& r : {on, own, other, second}) append_result(scratch.path, r);
    const Results read(scratch.path, "tiny", notes);
    CHECK(notes.empty());
    CHECK(read.all().size() == 4);
    CHECK(to_json(*read.find(own.hash)) == to_json(own));
    CHECK(to_json(*read.find(own.hash, "00000000000000ff")) == to_json(on));
    CHECK_FALSE(read.find(own.hash, "0"));
    CHECK(read.of_seeds(own.options, 0).size() == 1);
    CHECK(read.of_seeds(own.options, 0, "00000000000000ff").size() == 2);
    CHECK(read.of_seeds(own.options, 1, "00000000000000ff").size() == 1);
    const std::vector<MeasuredOn> files = read.files(own.options);
    REQUIRE(files.size() == 2);
    CHECK(files[0].hash == "00000000000000aa");
    CHECK(files[0].generated);
    CHECK(files[1].name == "a \"b\".json");
    CHECK(read.files(options("router = \"none\"")).empty());
    std::string broken = to_json(on); // a line cut in half is not a result
    broken.replace(broken.find("\"examples\""), 10, "\"exampels\"");
    expect_error(error_of([&] { from_json(broken, "here"); }), Exit::bad_data, "here: not a result");
}

TEST_CASE("results: a stopped run is no result of its row, and a whole one takes its place", "[study]") {
    const Scratch scratch;
    std::vector<std::string> notes;
    const auto read = [&] { return Results(scratch.path, "tiny", notes); };
    Result r;
    r.options.train.seed = r.seed = 2;
    r.hash = run_hash(r.options), r.scale = "tiny", r.provenance = provenance_json(r.options, 0);
    for (const int after : {15, 20, 17}) {
        r.stopped_after = after, r.metrics.at_k = after;
        append_result(scratch.path, r);
    }
    Results known = read();
    CHECK((!known.find(r.hash) && known.all().empty() && known.of_seeds(r.options, 0).empty()));
    REQUIRE(known.find_stopped(r.hash)); // the one that ran furthest
    CHECK((known.find_stopped(r.hash)->stopped_after == 20 && known.find_stopped(r.hash)->metrics.at_k == 20));
    CHECK((known.stopped(r.options, 2).size() == 1 && known.stopped(r.options, 1).empty()));
    r.stopped_after = 0;
    append_result(scratch.path, r);
    known = read();
    CHECK((known.find(r.hash) && known.of_seeds(r.options, 0).size() == 1));
    CHECK((!known.find_stopped(r.hash) && known.stopped(r.options, 0).empty()));
    CHECK(notes.empty());

    // Also refused by its version: a reader that does not know stopped runs leaves it out.
    std::string line = to_json(r);
    int64_t version = 0;
    CHECK((from_json(line, "x", &version) && version == 1));
    line.insert(1, "\"stopped_after\":15,");
    expect_error(error_of([&] { from_json(line, "x"); }), Exit::bad_data, "a stopped run's version is -1");
}

TEST_CASE("results: results that are cut short, of another version or broken", "[study]") {
    const Scratch scratch;
    const std::string path = results_file(scratch.path, "tiny"), a = to_json(result("")),
                      b = to_json(result("seed = 2"));
    const auto read = [&](const std::string& text, std::vector<std::string>& notes) {
        write_file_atomically(path, text);
        return Results(scratch.path, "tiny", notes);
    };
    for (const size_t cut : {size_t{1}, b.size() / 2, b.size() - 1}) {
        std::vector<std::string> notes;
        CHECK(read(a + "\n" + b.substr(0, cut), notes).all().size() == 1);
        REQUIRE(notes.size() == 1);
        CHECK(notes[0].find("the last line is incomplete") != std::string::npos);
        append_result(scratch.path, result("seed = 3")); // is not appended to the torn line
        notes.clear();
        CHECK(Results(scratch.path, "tiny", notes).all().size() == 2);
        CHECK(notes.empty());
    }
    { // only the last line end is missing, as some editors leave it; and blank lines
        std::vector<std::string> notes;
        CHECK(read(a + "\n\n" + b, notes).all().size() == 2);
        append_result(scratch.path, result("seed = 3"));
        CHECK(Results(scratch.path, "tiny", notes).all().size() == 3);
        CHECK(notes.empty());
    }
    std::string old = b;
    old.replace(old.find(":1"), 2, ":0");
    std::vector<std::string> notes;
    CHECK(read(a + "\n" + old + "\n" + old + "\n", notes).all().size() == 1);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].starts_with("2 results of version 0 in " + path + " are left out"));

    const auto with = [&](const std::string& from, const std::string& to) {
        std::string line = b;
        REQUIRE(line.find(from) != std::string::npos);
        return line.replace(line.find(from), from.size(), to);
    };
    const struct {
        std::string line, message;
    } bad[] = {
        {b.substr(0, b.size() / 2), "not a result"},
        {"[1]", "not a result"},
        {"{}", "not a result"},
        {with("\"seed\":2", "\"seed\":4"), "its seed is 4, its options say 2"},
        {with("\"top_k\"", "\"top_q\""), "this version has no option 'top_q'"},
        {with("\"queries\":1000", "\"queries\":\"many\""), "not a result"},
        {with("[1,10.5,2,0.1]", "[1,10.5]"), "a point of its curve has 2 numbers"},
        {with("\"scale\":\"tiny\"", "\"scale\":\"huge\""), "a result of scale huge in a file of scale tiny"},
    };
    notes.clear(); // a run is defined by its options: they give the hash
    const Results renamed = read(with("\"learning_rate\":0.0003", "\"learning_rate\":0.003") + "\n", notes);
    CHECK(renamed.find(run_hash(result("seed = 2\nlearning_rate = 0.003").options)) != nullptr);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].find("1 result has another hash") != std::string::npos);
    for (const auto& [line, message] : bad) {
        INFO(line);
        const std::string error = error_of([&] { read(a + "\n" + line + "\n" + a + "\n", notes); });
        expect_error(error, Exit::bad_data, message);
        CHECK(error.find(path + ":2: ") != std::string::npos);
    }
}

TEST_CASE("results: a full disk takes nothing of what is there", "[study]") {
    const Scratch scratch;
    append_result(scratch.path, result(""));
    const std::string path = results_file(scratch.path, "tiny"), before = read_file(path);
    const std::string error = error_in_child([&] {
        limit_file_size(before.size() + 100);
        append_result(scratch.path, result("seed = 2"));
    });
    expect_error(error, Exit::internal, path + ": cannot be written: File too large");
    CHECK(read_file(path) == before);
    write_file_atomically(scratch / "file", "");
    expect_error(error_of([&] { append_result(scratch / "file", result("")); }), Exit::internal,
                 "file/tiny.jsonl: cannot be written: Not a directory");
}

TEST_CASE("results: the table has the paper's value, ours, chance and the verdict", "[study]") {
    const Scratch scratch;
    const Study study = load_study(find_runs_folder());
    const std::vector<Case> cases = plan(study.select({"t1.transformer1", "t1.bm25"}), study.scale("paper"));
    std::vector<std::string> notes;
    for (const int seed : {1, 2, 3}) { // at the first learning rate
        Result r = of_case(cases[0], seed);
        r.metrics.at_k = 97.0 + seed, r.metrics.at_1 = 60, r.chance.at_1 = 6.5, r.metrics.accuracy = 50;
        r.curve = {{4, 62.4, 0, 0}, {5, seed == 3 ? 62.4 : 62.6, 0, 0}}; // half way: 62.5
        r.transition_epoch = 4;                                          // from the chance recorded with it
        append_result(scratch.path, r);
    }
    const Results own(scratch.path, "paper", notes);
    TableOptions o;
    o.scale = "paper", o.recorded = "runs/results";
    const auto text = [&](const Results& mine, const Results& recorded, int64_t seeds = 0) {
        std::string s = table_text(lines_of(cases, mine, recorded, seeds), o);
        for (size_t at; (at = s.find("  ")) != std::string::npos;) s.erase(at, 1); // column widths vary
        return s;
    };
    const std::string table = text(own, {});
    for (const char* line :
         {"routing 3e-4 100.0 99.0 ±1.0 (3) 25.0 100.0 60.0 (6.2) - inconclusive ./fci reproduce t1.transformer1 "
          "--scale "
          "paper",
          "accuracy 3e-4 55.6 50.0 ±0.0 (3) 7.0 100.0 - - inconclusive",
          "transition_epoch 3e-4 5 5.0 (2 of 3 converge [21, 94]%) - 100.0 - - provisional: some seeds",
          "routing 1e-3 100.0 not run - - - - not run",
          "t1.bm25 routing - 82.7 not run - - - - not run needs hotpotqa"}) {
        INFO(line << "\n" << table);
        CHECK(table.find(line) != std::string::npos);
    }
    // BM25 on a file: a verdict only on the official file, at any scale.
    const auto bm25 = [&](int64_t examples, int64_t bytes, const std::string& scale) {
        const Scratch there;
        Result r = result("", "paper");
        r.options = cases.back().options;
        r.hash = run_hash(r.options), r.provenance = provenance_json(r.options, 0);
        r.metrics = {82.1, {}, {}}, r.chance = {26.4, {}, {}}, r.queries = examples - 5;
        r.analysis = {{"routing_all", 13.5}, {"chance_all", 0.9}};
        r.on = MeasuredOn{"dev.json", "00000000000000ff", examples, bytes, false};
        append_result(there.path, r);
        Results mine;
        mine.take_indices(Results(there.path, "paper", notes));
        TableOptions to = o;
        to.scale = scale;
        return table_text(lines_of({cases.back()}, mine, {}, 0), to);
    };
    for (const char* scale : {"paper", "small"}) {
        INFO(scale);
        CHECK(bm25(7405, 46320117, scale).find("  reproduced") != std::string::npos);
        const std::string sample = bm25(500, 3191224, scale), same_number = bm25(7405, 46320118, scale);
        for (const std::string& t : {sample, same_number}) {
            INFO(t);
            CHECK(t.find("reproduced") == std::string::npos);
            CHECK(t.find("a sample") != std::string::npos);
            CHECK(t.find("not run") == std::string::npos);
        }
        CHECK(sample.find("500 examples (the official dev file has 7,405") != std::string::npos);
        CHECK(sample.find("82.1 [78.7, 85.5] (1)") != std::string::npos);
        CHECK(sample.find("13.5 [") != std::string::npos);
        CHECK(same_number.find("of another size") != std::string::npos);
    }
    CHECK(table.find('*') == std::string::npos);
    CHECK(table.find('\x1b') == std::string::npos);
    CHECK(text({}, own).find("99.0 ±1.0 (3)* 25.0 100.0 60.0 (6.2) - inconclusive") != std::string::npos);
    CHECK(text({}, own).find("* recorded in runs/results") != std::string::npos);
    CHECK(text(own, {}, 1).find("98.0 (1) 25.0") != std::string::npos);
    o.format = "md";
    CHECK(text(own, {}).find("| t1.transformer1 | routing | 3e-4 | 100.0 | 99.0 ±1.0 (3) | 25.0 | 100.0 | 60.0 (6.2) | "
                             "- | inconclusive |") != std::string::npos);
    o.format = "csv";
    CHECK(text(own, {}).find("t1.transformer1,,routing,0.0003,100.0,99,1,3,") != std::string::npos);
}

TEST_CASE("results: a final test takes the place of the epochs' numbers, and says what ties do", "[study]") {
    const Study study = load_study(find_runs_folder());
    const std::vector<Case> cases = plan(study.select({"f2.content-only", "f2.raw"}), study.scale("paper"));
    REQUIRE(cases.size() == 4); // two learning rates
    const auto line = [&](const std::vector<Result>& results) {
        const Scratch scratch;
        std::vector<std::string> notes;
        for (const Result& r : results) append_result(scratch.path, r);
        return lines_of(cases, Results(scratch.path, "paper", notes), {}, 0);
    };
    const auto result_of = [&](size_t i, int64_t seed, double at_k, std::optional<FinalTest> final) {
        Result r = of_case(cases[i], seed);
        r.metrics = {at_k, at_k, 1}, r.final = final;
        return r;
    };
    const FinalTest tied{{0.0, 0.0, 1.0}, 3.0, 0.5, 98.0, 10000};
    std::vector<Result> three;
    for (const int seed : {1, 2, 3}) three.push_back(result_of(0, seed, 1.0, tied));
    Line l = line(three)[0];
    CHECK(l.ours.mean == 0); // not 1
    CHECK(l.ours.half_90 == Approx(164.5 * std::sqrt(2. / 10004 * (10002. / 10004) / 10000)));
    CHECK(l.neighbours == 3.0);
    CHECK(l.ours.tie);
    CHECK(judge("routing", *parse_paper(l.paper), l.ours) == Verdict::tie);

    three[0].final = std::nullopt; // an older result, with 1000 queries and unknown ties
    l = line(three)[0];
    CHECK(l.ours.mean == Approx(1. / 3));
    CHECK(l.ours.half_90 > 0.3);
    CHECK_FALSE(l.ours.tie);

    const FinalTest scored{{90.0, 80.0, 1.0}, 91.0, 90.0, 0.0, 10000};
    std::vector<Result> five; // raw: two of five converge
    for (const int seed : {1, 2, 3, 4, 5}) {
        five.push_back(result_of(2, seed, 10, scored));
        if (seed > 2) five.back().final->metrics.at_k = 53.3; // half way from 6.75 is 53.376
    }
    l = line(five)[2];
    CHECK(l.ours.converged == 2);
    CHECK(judge("routing", *parse_paper(l.paper), l.ours) == Verdict::some_seeds);
    TableOptions o;
    o.scale = "paper";
    CHECK(table_text({l}, o).find("68.0 (2 of 5 converge [12, 77]%)") != std::string::npos);

    three[1].provenance = provenance_json(three[1].options, 1); // data other than these options give
    l = line(three)[0];
    CHECK_FALSE(l.ours.tested);
    o.scale = "small"; // at any scale
    CHECK(table_text({l}, o).find("  untested  ") != std::string::npos);
    CHECK(table_text({l}, o).find("check the data") != std::string::npos);
}
