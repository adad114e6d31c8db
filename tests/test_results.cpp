// Results as files, the paper's notation, verdicts on every side of their rules, and the table of them.
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

} // namespace

TEST_CASE("results: the paper's notation", "[study]") {
    const double infinity = std::numeric_limits<double>::infinity();
    const struct {
        std::string text;
        double low, high;
        bool exact;
    } good[] = {{"98.4", 98.4, 98.4, true},       {"~98.4", 98.4, 98.4, true},    {"-0.154", -0.154, -0.154, true},
                {"<=2.5", -infinity, 2.5, false}, {">130", 130, infinity, false}, {"9-29", 9, 29, false},
                {"0.6-11", 0.6, 11, false}};
    for (const auto& [text, low, high, exact] : good) {
        INFO(text);
        const auto v = parse_paper(text);
        REQUIRE(v);
        CHECK((v->low == low && v->high == high && v->exact == exact));
    }
    for (const char* text : {"", "~", "a", "1-", "2-1", "1-2-3", "<=", "<=a", "98.4%", "98 ", "nan", "inf", ">1-2"}) {
        INFO(text);
        CHECK_FALSE(parse_paper(text));
    }
}

TEST_CASE("results: mean, standard deviation and interval over seeds", "[study]") {
    const Ours three = summarise({90, 92, 94}, 1000);
    CHECK(three.seeds == 3);
    CHECK(three.mean == Approx(92));
    CHECK(three.sd == Approx(2));
    const double p = 922.0 / 1004, sampling = 196 * 196 * p * (1 - p) / 1000;
    CHECK(three.half_width == Approx(std::sqrt(4.303 * 4.303 * 4 / 3 + sampling)));
    const Ours one = summarise({100}, 1000);
    CHECK(one.sd == 0);
    CHECK(one.half_width == Approx(196 * std::sqrt(1002.0 / 1004 * (2.0 / 1004) / 1000)));
    CHECK(summarise({5, 7}, 0).half_width == Approx(12.706 * std::sqrt(2) / std::sqrt(2)));
    CHECK(summarise({}, 1000).seeds == 0);
    CHECK(summarise(std::vector<double>(20, 3.0), 0).half_width == Approx(0).margin(1e-9));
}

TEST_CASE("results: verdicts, each of their rules on both sides", "[study]") {
    const auto of = [](double mean, double half_width, std::optional<double> chance = {}) {
        Ours o;
        o.seeds = 3, o.mean = mean, o.half_width = half_width, o.chance = chance;
        return o;
    };
    const struct {
        std::string quantity, paper;
        Ours ours;
        Verdict verdict;
    } cases[] = {
        {"routing", "99.1", of(97.1, 0), Verdict::reproduced}, // within 2 points, exactly
        {"routing", "90", of(87.9, 0), Verdict::differs},      // not
        {"routing", "90", of(86, 4.5), Verdict::reproduced},   // inside the interval
        {"routing", "90", of(86, 5.5), Verdict::differs},      // which is too wide
        {"accuracy", "~50", of(51, 0), Verdict::reproduced},
        {"routing", "99.9", of(95.1, 0), Verdict::same_regime}, // both above 95
        {"routing", "99.9", of(95, 0), Verdict::differs},
        {"routing", "94", of(99, 0), Verdict::differs},
        {"routing", "1.2", of(6, 0, 4), Verdict::same_regime}, // both within 3 of chance
        {"accuracy", "7.6", of(3.9, 0, 6.9), Verdict::same_regime}, // 3 below it, exactly
        {"routing", "1.2", of(7.1, 0, 4), Verdict::differs},
        {"routing", "0.9", of(6, 0, 4), Verdict::differs},
        {"routing", "1.2", of(6, 0), Verdict::differs}, // no chance is known
        {"routing", "<=2.5", of(2.5, 0, 6.9), Verdict::reproduced},
        {"routing", "<=2.5", of(2.6, 4, 6.9), Verdict::differs}, // a bound has no margin
        {"routing", "<=2.5", of(5, 0, 4), Verdict::same_regime},
        {"routing", "9-29", of(9, 0), Verdict::reproduced},
        {"routing", "9-29", of(29.1, 0, 25), Verdict::differs},
        {"routing", "22-27", of(21.9, 0, 24.5), Verdict::same_regime},
        {"routing", "82-91", of(100, 0), Verdict::differs},
        {"routing", "96-97", of(100, 0), Verdict::same_regime},
        {"rank", "1.6", of(2.0, 9), Verdict::reproduced}, // 25%
        {"rank", "1.6", of(2.01, 9), Verdict::differs},
        {"rank", ">130", of(131, 0), Verdict::reproduced},
        {"rank", ">130", of(129, 0), Verdict::differs},
        {"energy90_dims", "34", of(42, 0), Verdict::reproduced},
        {"energy90_dims", "34", of(43, 0), Verdict::differs},
        {"cosine_gap", "-0.154", of(-0.104, 0), Verdict::reproduced}, // 0.05
        {"cosine_gap", "-0.154", of(-0.1, 0), Verdict::differs},
        {"transition_epoch", "5", of(7, 0), Verdict::reproduced}, // 2 epochs
        {"transition_epoch", "5", of(8, 2), Verdict::differs},
        {"transition_epoch", "5", of(8, 3.5), Verdict::differs},    // the interval is for percentages
        {"transition_epoch", "5", of(98, 0, 98), Verdict::differs}, // not a percentage: no regime
        {"routing", "99", {}, Verdict::not_run},
    };
    for (const auto& [quantity, paper, ours, verdict] : cases) {
        INFO(quantity << " " << paper << ", ours " << ours.mean << " +-" << ours.half_width);
        CHECK(std::string(name(judge(quantity, *parse_paper(paper), ours))) == name(verdict));
    }
    Ours some = of(5, 0); // a seed without a transition is a difference, however early the others had theirs
    some.without = 1;
    CHECK(judge("transition_epoch", *parse_paper("5"), some) == Verdict::differs);
    some.seeds = 0;
    CHECK(judge("transition_epoch", *parse_paper("5"), some) == Verdict::differs);
}

TEST_CASE("results: a result reads back as it was written", "[study]") {
    const Scratch scratch;
    std::vector<std::string> notes;
    CHECK(Results(scratch.path, "tiny", notes).all().empty()); // no file, no results
    Result none = result("router = \"none\"\nseed = 2");
    none.metrics.at_k = none.metrics.at_1 = std::nullopt, none.transition_epoch = 0;
    append_result(scratch / "new/folder", result(""));
    append_result(scratch / "new/folder", none);
    const Results read(scratch / "new/folder", "tiny", notes);
    CHECK(notes.empty());
    CHECK(read.all().size() == 2);
    for (const Result& r : {result(""), none}) {
        const Result* same = read.find(r.hash);
        REQUIRE(same);
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
    append_result(scratch / "new/folder", later); // of two lines of one run the later counts
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
    std::string broken = to_json(on); // half of it is not a result
    broken.replace(broken.find("\"examples\""), 10, "\"exampels\"");
    expect_error(error_of([&] { from_json(broken, "here"); }), Exit::bad_data, "here: not a result");
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
        CHECK(notes[0].find("the last line is cut short") != std::string::npos);
        append_result(scratch.path, result("seed = 3")); // does not stick to the torn line
        notes.clear();
        CHECK(Results(scratch.path, "tiny", notes).all().size() == 2);
        CHECK(notes.empty());
    }
    { // nothing but the line's end is missing, as an editor leaves it; and blank lines
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
        {with("\"top_k\"", "\"top_q\""), "an option 'top_q'"},
        {with("\"queries\":1000", "\"queries\":\"many\""), "not a result"},
        {with("[1,10.5,2,0.1]", "[1,10.5]"), "a point of its curve has 2 numbers"},
        {with("\"scale\":\"tiny\"", "\"scale\":\"huge\""), "a result of scale huge in a file of scale tiny"},
    };
    notes.clear(); // what a run is, its options say: the hash is made of them
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
        Result r = result("", "paper");
        r.options = cases[0].seeded(seed);
        r.hash = run_hash(r.options), r.seed = seed;
        r.provenance = provenance_json(r.options, 0);
        r.metrics.at_k = 97.0 + seed, r.metrics.at_1 = 60, r.chance.at_1 = 6.5, r.metrics.accuracy = 50;
        r.transition_epoch = seed == 3 ? 0 : 5;
        append_result(scratch.path, r);
    }
    const Results own(scratch.path, "paper", notes);
    TableOptions o;
    o.scale = "paper", o.recorded = "runs/results";
    const auto text = [&](const Results& mine, const Results& recorded, int64_t seeds = 0) {
        std::string s = table_text(lines_of(cases, mine, recorded, seeds), o);
        for (size_t at; (at = s.find("  ")) != std::string::npos;) s.erase(at, 1); // columns are as wide as they must
        return s;
    };
    const std::string table = text(own, {});
    for (const char* line :
         {"routing 3e-4 100.0 99.0 ±1.0 (3) 24.6 60.0 (6.5) reproduced ./fci reproduce t1.transformer1 --scale paper",
          "accuracy 3e-4 55.6 50.0 ±0.0 (3) 6.9 - differs", "transition_epoch 3e-4 5 5.0 ±0.0 (2 of 3) - - differs",
          "routing 1e-3 100.0 not run - - not run", "t1.bm25 routing - 82.7 not run - - not run needs hotpotqa"}) {
        INFO(line << "\n" << table);
        CHECK(table.find(line) != std::string::npos);
    }
    // BM25 on a file: a verdict on the official one only, at any scale.
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
    CHECK(text({}, own).find("99.0 ±1.0 (3)* 24.6 60.0 (6.5) reproduced") != std::string::npos);
    CHECK(text({}, own).find("* recorded in runs/results") != std::string::npos);
    CHECK(text(own, {}, 1).find("98.0 (1) 24.6") != std::string::npos);
    o.format = "md";
    CHECK(text(own, {}).find(
              "| t1.transformer1 | routing | 3e-4 | 100.0 | 99.0 ±1.0 (3) | 24.6 | 60.0 (6.5) | reproduced |") !=
          std::string::npos);
    o.format = "csv";
    CHECK(text(own, {}).find("t1.transformer1,,routing,0.0003,100.0,99,1,3,") != std::string::npos);
}
