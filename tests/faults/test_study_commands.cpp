// fci rows, sweep, reproduce and table as people use them: in a folder of tiny rows, by one process and by several, and
// when they are killed.
#include <algorithm>
#include <sstream>

#include "study/results.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// A folder as the repository is: runs/ with rows and a scale of its own. Runs take a few hundredths of a second.
struct Place {
    Scratch scratch;

    explicit Place(int epochs = 3) {
        fs::create_directories(scratch / "runs");
        write("runs/scales.toml", fmt::format("[tiny]\nlearning_rates = [1e-2]\nsequences = 64\ntest_sequences = 32\n"
                                              "epochs = {}\nbatch = 8\nd_model = 16\nheads = 2\ntop_k = 2\n"
                                              "[tiny.mqar]\nlength = 32\npairs = 4\nvocab = 16\n",
                                              epochs));
        write("runs/one.toml", "[[row]]\nid = \"a.transformer\"\nwhere = \"Table 1\"\n"
                               "paper = { routing = \"100.0\", transition_epoch = \"5\" }\n"
                               "[[row]]\nid = \"a.raw\"\nrepresentation = \"raw\"\npaper = { routing = \"25.6\" }\n");
        write("runs/two.toml", "[[row]]\nid = \"b.raw\"\nrepresentation = \"raw\"\npaper = { accuracy = \"1\" }\n"
                               "[[row]]\nid = \"b.causal\"\nrepresentation = \"causal-transformer\"\n"
                               "paper = { routing = \"<=2\", rank = \"3\" }\n"
                               "[[row]]\nid = \"b.absent\"\nneeds = \"pretrained\"\ntask = \"x\"\n"
                               "paper = { routing = \"3\" }\n");
    }
    void write(const std::string& name, const std::string& text) const { write_file_atomically(scratch / name, text); }

    // Starts the program in it.
    std::unique_ptr<Child> start(const Words& words) const {
        ::setenv("FCI_BIN", fs::absolute(program()).c_str(), 1); // it is about to change folders
        Words all = words;
        for (const char* flag : {"--scale", "tiny", "--threads", "1"}) all.push_back(flag);
        return std::make_unique<Child>(all, [this] {
            if (::chdir(scratch.path.c_str()) != 0) ::_exit(126);
        });
    }
    Ran operator()(const Words& words) const { return start(words)->wait(); }

    std::string results(const std::string& folder = "runs/out/results") const {
        return scratch / (folder + "/tiny.jsonl");
    }

    // Its results without their times, sorted: who did what when is left to chance.
    std::vector<std::string> numbers(const std::string& folder = "runs/out/results") const {
        std::vector<std::string> all;
        std::istringstream in(read_file(results(folder)));
        for (std::string line; std::getline(in, line);) {
            std::optional<Result> r = from_json(line, "test");
            REQUIRE(r);
            r->seconds = 0;
            all.push_back(to_json(*r));
        }
        std::sort(all.begin(), all.end());
        return all;
    }
};

// The numbers of all runs of 2 seeds, by one process that nothing happened to.
const std::vector<std::string>& expected() {
    static const std::vector<std::string> all = [] {
        const Place place;
        const Ran r = place({"sweep", "all", "--seeds", "2"});
        expect_ran(r, 0, "6/6  b.causal lr 1e-2 seed 2");
        CHECK(r.out.find("1 row is not run: 1 for want of pretrained") != std::string::npos);
        CHECK(r.out.find_first_of("\x1b\r") == std::string::npos);
        return place.numbers();
    }();
    return all;
}

} // namespace

TEST_CASE("sweep: rows that come to the same share a run, and finished runs are not done again", "[cli]") {
    CHECK(expected().size() == 6); // a.raw and b.raw are one
    const Place place;
    expect_ran(place({"sweep", "a.raw", "runs/two.toml", "--seeds", "2"}), 0, "4/4  b.causal");
    const Ran again = place({"sweep", "all", "--seeds", "2"});
    expect_ran(again, 0, "4 of 6 runs are done already");
    CHECK(place.numbers() == expected());
    expect_ran(place({"sweep", "all", "--quiet", "--seeds", "2"}), 0);
    CHECK(place.numbers() == expected());
    // Other results, same run folders: nothing is trained twice.
    expect_ran(place({"sweep", "all", "--seeds", "2", "--results", "other"}), 0, "6/6");
    CHECK(place.numbers("other") == expected());
}

TEST_CASE("sweep: an order goes through its entries, each run once, and leaves out what is recorded", "[cli]") {
    const Place place;
    const auto order = [&](const std::string& text) { place.write("runs/order.toml", "scale = \"tiny\"\n" + text); };
    const std::string raw = "[[entry]]\nwhat = \"raw first\"\nrows = [\"b.raw\"]\nseeds = [2]\n",
                      all = "[[entry]]\nwhat = \"the rest\"\nrows = [\"all\"]\nseeds = [1, 2]\n";
    expect_refused(place({"sweep", "order"}), 2, "runs/order.toml: there is no such list");
    order(raw + all);
    expect_ran(place({"sweep", "order", "--status"}), 0, "1  1     0     0        0");
    const Ran r = place({"sweep", "order"});
    expect_ran(r, 0, "1/6  b.raw lr 1e-2 seed 2");
    CHECK(r.out.find("2/6  a.transformer lr 1e-2 seed 1") != std::string::npos);
    CHECK(place.numbers() == expected());
    const Ran status = place({"sweep", "order", "--status"});
    expect_ran(status, 0, "1  1     1     0        0           -      raw first");
    CHECK(status.out.find("6 runs at scale tiny: 6 done, 0 running, 0 unfinished, 0 waiting") != std::string::npos);

    // Recorded results count, but for those without a final test where that is asked for again.
    fs::create_directories(place.scratch / "runs/results");
    std::string recorded;
    std::istringstream in(read_file(place.results()));
    for (std::string line; std::getline(in, line);) {
        std::optional<Result> result = from_json(line, "test");
        if (result->seed == 1 && result->options.model.representation == "raw") result->final.reset();
        recorded += to_json(*result) + "\n";
    }
    place.write("runs/results/tiny.jsonl", recorded);
    const auto size = [&](const char* file) { return place.numbers(file).size(); };
    for (const char* folder : {"runs/out/sweep", "runs/out/results"}) fs::remove_all(place.scratch / folder);
    expect_ran(place({"sweep", "order"}), 0, "6 of 6 runs are done already");
    order(all + "[[entry]]\nwhat = \"final tests\"\nrows = [\"a.raw\"]\nseeds = [1, 2]\nagain = true\n");
    expect_ran(place({"sweep", "order", "--status"}), 0, "2  2     1     0        0");
    for (const char* shard : {"1/2", "2/2"}) expect_ran(place({"sweep", "order", "--shard", shard}), 0, "4 runs");
    CHECK(size("runs/out/results") == 1);
    expect_ran(place({"sweep", "order"}), 0, "8 of 8 runs are done already");

    expect_refused(place({"sweep", "order", "--seeds", "2"}), 2, "leave --seeds, --reading and --stop-after out");
    order("[[entry]]\nwhat = \"x\"\nrows = [\"a.rwa\"]\nseeds = [1]\n");
    expect_refused(place({"sweep", "order"}), 2, "order.toml:2: a.rwa: no such row or group; did you mean 'a.raw'?");
    order("[[entry]]\nwhat = \"x\"\nrows = [\"a.raw\"]\nseeds = [1]\nlearning_rates = [3e-4]\n");
    expect_refused(place({"sweep", "order"}), 2, "order.toml:2: this entry has no run at scale tiny");
}

TEST_CASE("sweep: a run stopped after some epochs stands for no row, and goes on with the same bits", "[cli]") {
    const Place place;
    const auto folder = [](const Place& p) { // of the one run
        return fs::directory_iterator(p.scratch / "runs/out/sweep")->path().string();
    };
    const Words sweep{"sweep", "a.transformer"};
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "stopped after epoch 2: routing");
    const std::string line = read_file(place.results());
    CHECK(line.starts_with("{\"version\":-1,"));
    CHECK(line.find("\"stopped_after\":2,") != std::string::npos);
    CHECK(from_json(line.substr(0, line.size() - 1), "test")->curve.size() == 2);
    expect_ran(place(sweep + Words{"--stop-after", "1"}), 0, "1 of 1 runs are done already"); // it went further
    expect_ran(place({"table", "a.transformer"}), 0, "not run");
    expect_ran(place({"table", "a.transformer", "--by-reading"}), 0, "(1) after 2");
    expect_ran(place(sweep + Words{"--status"}), 0, "0 done, 0 running, 1 unfinished");

    const Place whole;
    expect_ran(whole(sweep), 0);
    expect_ran(place(sweep), 0, "1/1");
    const std::vector<std::string> both = place.numbers(), one = whole.numbers();
    REQUIRE((both.size() == 2 && one.size() == 1));
    CHECK(both[1] == one[0]); // after the stopped one: -1 sorts before 1
    CHECK(same_tensors(folder(place), folder(whole)));
    place.write("runs/out/results/tiny.jsonl", read_file(whole.results()) + line); // in whatever order
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "1 of 1 runs are done already");
    const Ran table = place({"table", "a.transformer", "--by-reading"});
    CHECK(table.out.find("after 2") == std::string::npos);

    // A checkpoint beyond the stop: it stops at the end of the epoch that it is in.
    fs::remove_all(place.scratch / "runs/out/results");
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "routing");
    CHECK(read_file(place.results()).find("stopped_after") == std::string::npos); // it was whole
    place.write("runs/order.toml", "scale = \"tiny\"\n[[entry]]\nwhat = \"x\"\nrows = [\"b.causal\"]\nseeds = [1]\n"
                                   "stop_after = 1\n[[entry]]\nwhat = \"y\"\nrows = [\"b.causal\"]\nseeds = [1]\n");
    const Ran order = place({"sweep", "order"});
    expect_ran(order, 0, "1/2  b.causal lr 1e-2 seed 1  stopped after epoch 1: ");
    CHECK(order.out.find("2/2  b.causal lr 1e-2 seed 1  routing") != std::string::npos);
    expect_ran(place({"sweep", "b.causal", "--stop-after", "3"}), 0, "1 of 1 runs are done"); // 3 are all
}

TEST_CASE("sweep: shards and processes at once give what one process gives", "[cli]") {
    const Place shards;
    for (const char* shard : {"1/2", "2/2"})
        expect_ran(shards({"sweep", "all", "--seeds", "2", "--shard", shard}), 0, "3/3");
    CHECK(shards.numbers() == expected());

    const Place together;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 3; ++i) children.push_back(together.start({"sweep", "all", "--seeds", "2"}));
    for (const auto& child : children) expect_ran(child->wait(), 0);
    CHECK(together.numbers() == expected()); // each run once

    const Place jobs; // in one process
    expect_ran(jobs({"sweep", "all", "--seeds", "2", "--jobs", "3"}), 0, "6/6");
    CHECK(jobs.numbers() == expected());

    const Place array; // one job a run
    for (int i = 0; i < 7; ++i) {
        ::setenv("JOB_COMPLETION_INDEX", std::to_string(i).c_str(), 1);
        const Ran r = array({"sweep", "all", "--seeds", "2"});
        ::unsetenv("JOB_COMPLETION_INDEX");
        if (i < 6)
            expect_ran(r, 0, "1/1");
        else
            expect_ran(r, 2, "jobs 0 to 5");
    }
    CHECK(array.numbers() == expected());
}

TEST_CASE("sweep: killed or interrupted, it goes on and ends with the same bits", "[cli]") {
    constexpr int epochs = 60;
    const auto whole = [] {
        const Place place(epochs);
        expect_ran(place({"sweep", "one"}), 0);
        return place.numbers();
    }();
    for (const int signal : {SIGKILL, SIGINT, SIGTERM}) {
        const Place place(epochs);
        const auto child = place.start({"sweep", "one", "--jobs", signal == SIGTERM ? "2" : "1"});
        const auto steps = [&] { // lines of all runs' logs
            int64_t lines = 0;
            const std::string sweep = place.scratch / "runs/out/sweep";
            if (!fs::exists(sweep)) return lines;
            for (const auto& run : fs::directory_iterator(sweep)) {
                std::ifstream in(run.path() / "log.jsonl");
                lines += std::count(std::istreambuf_iterator<char>(in), {}, '\n');
            }
            return lines;
        };
        while (child->running() && steps() < 100) std::this_thread::sleep_for(1ms);
        const Ran status = place({"sweep", "one", "--status"});
        expect_ran(status, 0);
        child->kill(signal);
        const Ran r = child->wait();
        INFO("signal " << signal << ": " << r.out << r.err << "status: " << status.out);
        CHECK((r.code == 0 || r.code == (signal == SIGKILL ? 128 + SIGKILL : 75)));
        if (r.code == 75) CHECK(r.out.find("the same command goes on") != std::string::npos);
        if (r.code != 0) {
            CHECK(status.out.find("\nrunning  ") != std::string::npos);
            const Ran left = place({"sweep", "one", "--status"});
            expect_ran(left, 0);
            INFO("left: " << left.out); // of two jobs both may be unfinished
            CHECK(left.out.find("0 running") != std::string::npos);
            CHECK(
                (left.out.find(", 0 unfinished") == std::string::npos || left.out.find("0 done") == std::string::npos));
        }
        expect_ran(place({"sweep", "one"}), 0);
        CHECK(place.numbers() == whole);
        expect_ran(place({"sweep", "one", "--status"}), 0, "2 done, 0 running, 0 unfinished, 0 waiting");
    }
}

TEST_CASE("sweep: a run that cannot be done does not stop the others", "[cli]") {
    const Place place;
    place.write("runs/three.toml",
                "[[row]]\nid = \"c.bad\"\nlearning_rate = 1000000.0\nclip = 0.0\n[[row]]\nid = \"c.good\"\n");
    const Ran r = place({"sweep", "three"});
    expect_ran(r, 5, "c.bad lr 1e6 seed 1  failed: step");
    CHECK(r.out.find("2/2  c.good") != std::string::npos);
    CHECK(r.out.find("1 of 2 runs failed") != std::string::npos);
    expect_refused(place({"sweep", "c.bad"}), 5, "has a NaN or Inf"); // alone, its own error
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\ntop_k = 999\n");
    expect_refused(place({"sweep", "three"}), 2, "three.toml:1: row c.bad at scale tiny: --top-k 999");
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\nseed = 3\n");
    expect_refused(place({"sweep", "three"}), 2, "three.toml:3: seed: not a row's to say");
    fs::remove(place.scratch / "runs/three.toml");
    place.write("runs/readings.toml", "[[readings]]\nrows = [\"a.transformer\"]\ntask = [\"der\"]\n"
                                      "representation = [\"fourier:1\"]\n");
    std::istringstream list(place({"rows", "readings"}).out); // a reading's own task and representation, as words, too
    std::string words;
    for (std::string word; list >> word;) words += word + ' ';
    CHECK(words.find("@representation=fourier:1 Table 1 mqar fourier:1 ") != std::string::npos);
    CHECK(words.find("@task=der Table 1 der ") != std::string::npos);
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\nmeasure = \"ranc\"\n");
    expect_refused(place({"sweep", "three"}), 2, "did you mean 'rank'?");
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\nrepresentation = \"transfomer:1\"\n");
    expect_refused(place({"sweep", "three"}), 2, "three.toml:1: row c.bad");
    expect_refused(place({"sweep", "three"}), 2, "did you mean 'transformer'?");
}

TEST_CASE("reproduce: shows the rows, and compares them with what was recorded", "[cli]") {
    const Place place;
    const Ran first = place({"reproduce", "all", "--seeds", "2"});
    expect_ran(first, 0, "nothing is recorded of these rows at scale tiny in runs/results");
    CHECK(first.out.find("./fci reproduce b.causal --scale tiny") != std::string::npos);
    CHECK(first.out.find("not run  needs pretrained") != std::string::npos);
    fs::create_directories(place.scratch / "runs/results");
    fs::copy(place.results(), place.results("runs/results"));
    expect_ran(place({"reproduce", "all", "--seeds", "2"}), 0, "as recorded in runs/results: 4 of 5 rows");

    std::string text, line; // the same with a routing of 100%, or another rank
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
    expect_ran(place({"reproduce", "b.causal", "--seeds", "2"}), 4, "2 of 2 results were made by other builds");
    expect_ran(place({"reproduce", "a.transformer"}), 0, "as recorded"); // 2 of its 3 seeds
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
    expect_ran(list, 0, "needs pretrained");
    CHECK(list.out.find("5 rows; time: of one seed at each learning rate of scale tiny") != std::string::npos);
}

TEST_CASE("reproduce: rows on HotpotQA are measured on a file and recorded beside their own results", "[cli][hotpot]") {
    const Place place;
    fs::create_directories(place.scratch / "runs/own");
    place.write("runs/own/text.toml", "[[row]]\nid = \"own.text\"\ntask = \"hotpotqa\"\nlength = 96\nvocab = 64\n");
    place.write("runs/index.toml", "[[row]]\nid = \"t1.bm25\"\ntask = \"hotpotqa\"\nrouter = \"bm25\"\n"
                                   "needs = \"hotpotqa\"\npaper = { routing = \"82.7\" }\n");
    std::string real = read_file("tests/golden/hotpotqa.json"); // passed off as real: by other ids
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
    CHECK(first.out.find("beyond the paper") != std::string::npos);
    CHECK(on_files(place.results()) == 2);
    expect_ran(place({"reproduce", "own/text", "--seeds", "2", "--data", "real.json"}), 0, "routing on real.json");
    CHECK(on_files(place.results()) == 2); // once
    expect_ran(place({"table", "own/text"}), 0, "all on real.json");
    fs::remove_all(place.scratch / "runs/out/sweep");
    const Ran gone = place({"reproduce", "own/text", "--seeds", "1", "--data", "generated.json"});
    expect_ran(gone, 0);
    CHECK(gone.err.find("not measured on generated.json: its result is known, but ") != std::string::npos);

    const std::string paper = place.scratch / "runs/out/results/paper.jsonl";
    expect_ran(place({"reproduce", "t1.bm25"}), 0, "46,320,117 bytes, SHA-256 4e9ecb5c");
    expect_ran(place({"reproduce", "t1.bm25", "--data", "generated.json"}), 0, "t1.bm25 (generated)");
    CHECK(on_files(paper) == 0);
    expect_ran(place({"table", "t1.bm25"}), 0, "1 row is not run: 1 for want of hotpotqa");
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
        {{"sweep", "runs/four.toml"}, 2, "runs/four.toml: no such file"},
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
