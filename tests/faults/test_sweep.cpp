// fci sweep as people use it: in a folder of tiny rows, by one process and by several, and when it is killed.
#include "tests/faults/place.h"

using namespace fci;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// The numbers of all runs of 2 seeds, computed by one undisturbed process.
const std::vector<std::string>& expected() {
    static const std::vector<std::string> all = [] {
        const Place place;
        const Ran r = place({"sweep", "all", "--seeds", "2"});
        expect_ran(r, 0, "6/6  b.causal lr 1e-2 seed 2");
        CHECK(r.out.find("1 row is not run: 1 without weights") != std::string::npos);
        CHECK(r.out.find_first_of("\x1b\r") == std::string::npos);
        return place.numbers();
    }();
    return all;
}

} // namespace

TEST_CASE("sweep: rows that come to the same share a run, and finished runs are not done again", "[cli]") {
    CHECK(expected().size() == 6); // a.raw and b.raw are the same run
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
    expect_refused(place({"sweep", "order"}), 2, "runs/order.toml: no such file");
    order(raw + all);
    expect_ran(place({"sweep", "order", "--status"}), 0, "1  1     0     0        0");
    const Ran r = place({"sweep", "order"});
    expect_ran(r, 0, "1/6  b.raw lr 1e-2 seed 2");
    CHECK(r.out.find("2/6  a.transformer lr 1e-2 seed 1") != std::string::npos);
    CHECK(place.numbers() == expected());
    const Ran status = place({"sweep", "order", "--status"});
    expect_ran(status, 0, "1  1     1     0        0           -      raw first");
    CHECK(status.out.find("6 runs at scale tiny: 6 done, 0 running, 0 unfinished, 0 waiting") != std::string::npos);

    // Recorded results count, except those without a final test if it is requested again.
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
    expect_refused(place({"sweep", "order"}), 2, "order.toml:2: no row of this entry runs at scale tiny");
}

TEST_CASE("sweep: a run stopped after some epochs counts for no row, and goes on with the same bits", "[cli]") {
    const Place place;
    const auto folder = [](const Place& p) { // the folder of the only run
        return fs::directory_iterator(p.scratch / "runs/out/sweep")->path().string();
    };
    const Words sweep{"sweep", "a.transformer"};
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "stopped after epoch 2: routing");
    const std::string line = read_file(place.results());
    CHECK(line.starts_with("{\"version\":-1,"));
    CHECK(line.find("\"stopped_after\":2,") != std::string::npos);
    CHECK(from_json(line.substr(0, line.size() - 1), "test")->curve.size() == 2);
    expect_ran(place(sweep + Words{"--stop-after", "1"}), 0, "1 of 1 runs are done already"); // it ran further
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
    place.write("runs/out/results/tiny.jsonl", read_file(whole.results()) + line); // in any order
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "1 of 1 runs are done already");
    const Ran table = place({"table", "a.transformer", "--by-reading"});
    CHECK(table.out.find("after 2") == std::string::npos);

    // A checkpoint after the stop: it stops at the end of the epoch that it is in.
    fs::remove_all(place.scratch / "runs/out/results");
    expect_ran(place(sweep + Words{"--stop-after", "2"}), 0, "routing");
    CHECK(read_file(place.results()).find("stopped_after") == std::string::npos); // the run was complete
    place.write("runs/order.toml", "scale = \"tiny\"\n[[entry]]\nwhat = \"x\"\nrows = [\"b.causal\"]\nseeds = [1]\n"
                                   "stop_after = 1\n[[entry]]\nwhat = \"y\"\nrows = [\"b.causal\"]\nseeds = [1]\n");
    const Ran order = place({"sweep", "order"});
    expect_ran(order, 0, "1/2  b.causal lr 1e-2 seed 1  stopped after epoch 1: ");
    CHECK(order.out.find("2/2  b.causal lr 1e-2 seed 1  routing") != std::string::npos);
    expect_ran(place({"sweep", "b.causal", "--stop-after", "3"}), 0, "1 of 1 runs are done"); // 3 epochs are all it has
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
    CHECK(together.numbers() == expected()); // each run was made once

    const Place jobs; // in one process
    expect_ran(jobs({"sweep", "all", "--seeds", "2", "--jobs", "3"}), 0, "6/6");
    CHECK(jobs.numbers() == expected());

    const Place array; // one job per run
    for (int i = 0; i < 7; ++i) {
        ::setenv("JOB_COMPLETION_INDEX", std::to_string(i).c_str(), 1);
        const Ran r = array({"sweep", "all", "--seeds", "2"});
        ::unsetenv("JOB_COMPLETION_INDEX");
        if (i < 6)
            expect_ran(r, 0, "1/1");
        else
            expect_ran(r, 2, "jobs are 0 to 5");
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
        const auto steps = [&] { // lines in the logs of all runs
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
        Ran status = place({"sweep", "one", "--status"});
        while (child->running() && status.out.find("\nrunning  ") == std::string::npos) // between two runs
            status = place({"sweep", "one", "--status"});
        expect_ran(status, 0);
        child->kill(signal);
        const Ran r = child->wait();
        INFO("signal " << signal << ": " << r.out << r.err << "status: " << status.out);
        CHECK((r.code == 0 || r.code == (signal == SIGKILL ? 128 + SIGKILL : 75)));
        if (r.code == 75) CHECK(r.out.find("the same command continues") != std::string::npos);
        if (r.code != 0) {
            CHECK(status.out.find("\nrunning  ") != std::string::npos);
            const Ran left = place({"sweep", "one", "--status"});
            expect_ran(left, 0);
            INFO("left: " << left.out); // both of two jobs may be unfinished
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
    expect_refused(place({"sweep", "c.bad"}), 5, "has a NaN or Inf"); // run alone, it gives its own error
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\ntop_k = 999\n");
    expect_refused(place({"sweep", "three"}), 2, "three.toml:1: row c.bad at scale tiny: --top-k 999");
    place.write("runs/three.toml", "[[row]]\nid = \"c.bad\"\nseed = 3\n");
    expect_refused(place({"sweep", "three"}), 2, "three.toml:3: seed: a row cannot set this");
    fs::remove(place.scratch / "runs/three.toml");
    place.write("runs/readings.toml", "[[readings]]\nrows = [\"a.transformer\"]\ntask = [\"der\"]\n"
                                      "representation = [\"fourier:1\"]\n");
    std::istringstream list(place({"rows", "readings"}).out); // includes a reading's own task and representation
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

TEST_CASE("sweep: a grid of flags is a row with lists, under a name that table, status and plot know", "[cli]") {
    const Place place;
    const Words grid{"--task", "mqar", "--representation", "raw,transformer:1", "--learning-rate", "1e-2,3e-2"};
    expect_ran(place(Words{"sweep", "--name", "g", "--seeds", "2"} + grid), 0,
               "8/8  g@representation=transformer:1 lr 3e-2");
    place.write("runs/three.toml", "[[row]]\nid = \"c\"\nrepresentation = [\"raw\", \"transformer:1\"]\n"
                                   "task = \"mqar\"\nlearning_rate = [1e-2, 3e-2]\n");
    expect_ran(place({"sweep", "runs/three.toml", "--seeds", "2"}), 0,
               "8 of 8 runs are done already"); // the same hashes
    expect_ran(place({"sweep", "a.transformer", "a.raw"}), 0, "2 of 2 runs are done already");
    expect_ran(place({"sweep", "g", "--status"}), 0, "8 runs at scale tiny: 8 done"); // its seeds are kept
    expect_ran(place({"sweep", "g", "--status", "--seeds", "1"}), 0, "4 runs at scale tiny: 4 done");
    expect_ran(place(Words{"sweep", "--name", "g", "--status"} + grid), 0, "8 runs at scale tiny: 8 done");
    expect_ran(place(Words{"sweep", "--name", "g", "--status", "--seeds", "3"} + grid), 0, "12 runs at scale tiny");
    expect_ran(place({"sweep", "g", "--status"}), 0, "12 runs at scale tiny: 8 done");
    const Ran table = place({"table", "g", "--format", "csv"});
    expect_ran(table, 0, "g@representation=transformer:1,,routing,0.03,");
    const Ran one = place({"table", "g@representation=raw", "--format", "csv"}); // one of its rows
    expect_ran(one, 0, "g@representation=raw,,routing,0.03,");
    CHECK(one.out.find("transformer") == std::string::npos);
    expect_refused(place({"table", "g@representation=rwa"}), 2, "did you mean 'g@representation=raw'?");
    expect_ran(place(Words{"sweep", "--name", "looked-at", "--status"} + grid), 0, "4 runs at scale tiny: 4 done");
    CHECK_FALSE(fs::exists(place.scratch / "runs/out/sweeps/looked-at.toml"));

    const auto plot = [&](const Words& more) {
        return run_in(place.scratch.path, Words{"plot", "g", "--scale", "tiny"} + more); // into g.svg
    };
    const auto count = [&](const std::string& part) {
        const std::string svg = read_file(place.scratch / "g.svg");
        size_t n = 0;
        for (size_t at = 0; (at = svg.find(part, at)) != std::string::npos; ++at) ++n;
        return n;
    };
    expect_ran(plot({"--x", "learning-rate", "--y", "accuracy"}), 0);
    CHECK(count("class=\"ln ") == 2); // one curve per representation
    CHECK(count("<circle") == 4);
    CHECK(count("class=\"whisk ") == 4);
    CHECK(count(">transformer:1<") == 1);
    CHECK(count(">1e-2<") == 1);
    expect_ran(plot({"--x", "representation"}), 0); // names: no line joins them
    CHECK(count("class=\"ln ") == 0);
    CHECK(count("<circle") == 4);
    CHECK(count(">3e-2<") == 1);
    expect_ran(plot({"--x", "learning-rate", "--y", "rank"}), 0); // rows without the paper's numbers do not list it
    CHECK(count("<circle") == 4);
    expect_refused(run_in(place.scratch.path, {"plot", "figrue2"}), 2, "fci: plot figrue2: must be one of");
    expect_refused(plot({"--x", "seed"}), 2, "--x seed: a point is the mean over seeds");
    expect_refused(place({"sweep", "--name", "z", "--heads", "2", "--shard", "3/2"}), 2, "--shard 3/2");
    CHECK_FALSE(fs::exists(place.scratch / "runs/out/sweeps/z.toml"));
    expect_refused(place({"table", "--results", "nosuch"}), 2, "--results nosuch: there is no such folder");
    expect_refused(plot({"--x", "lr"}), 2, "--x lr: not an option of rows; did you mean 'learning-rate'?");
    expect_refused(plot({"--x", "heads", "--y", "routin"}), 2, "did you mean 'routing'?");
    expect_refused(plot({"--y", "accuracy"}), 2, "add --x OPTION");
}

TEST_CASE("sweep: a grid that is not one names flag and value, and nothing is kept of it", "[cli]") {
    const Place place;
    const auto refused = [&](const Words& more, const std::string& part) {
        INFO(more[0] << " " << more.back());
        expect_refused(place(Words{"sweep", "--name", "k"} + more), 2, part);
        CHECK_FALSE(fs::exists(place.scratch / "runs/out/sweeps/k.toml"));
    };
    refused({"--heads", "2,x"}, "--heads x: expected an integer");
    refused({"--heads", "2,,4"}, "--heads 2,,4: a value is missing before or after a comma");
    refused({"--learning-rate", "1e-2,0.01"}, "--learning-rate 1e-2,0.01: 0.01 is given twice");
    refused({"--router", "rank1\\,investigator"}, "--router rank1,investigator: must be one of");
    refused({"--representation", "raw,flw:1"}, "row k@representation=flw:1 at scale tiny: --representation flw");
    refused({"--batch", "8,128"}, "row k@batch=128 at scale tiny: --batch 128 is more than --sequences 64");
    expect_refused(place({"sweep", "--heads", "2"}), 2, "--heads 2: add --name NAME");
    expect_refused(place({"sweep", "--name", "k"}), 2, "--name k: expected options too");
    expect_refused(place({"sweep", "--name", "../k", "--heads", "2"}), 2, "--name '../k': expected letters, digits");
    expect_refused(place({"sweep", "--name", "a.raw", "--heads", "2"}), 2, "rows of the paper have this name");
    expect_refused(place({"sweep", "a.raw", "--heads", "2"}), 2, "a.raw and --heads: rows already have their options");
    expect_ran(place({"sweep", "--name", "k", "--mean-residual", "--representation", "global-mean"}), 0, "1/1");
    expect_refused(place({"sweep", "--name", "k", "--heads", "2"}), 2, "runs/out/sweeps/k.toml holds another grid");
    // What is refused before a run leaves no grid behind, and done runs do not hide that it cannot be done so.
    const Words heads{"sweep", "--name", "m", "--heads", "2"};
    expect_refused(place(heads + Words{"--reading", "nope"}), 2, "nope");
    expect_refused(place(heads + Words{"--precision", "tf32", "--device", "cpu"}), 2,
                   "--precision tf32 is for products");
    CHECK(!fs::exists(place.scratch / "runs/out/sweeps/m.toml"));
    expect_refused(place({"sweep", "k", "--precision", "tf32", "--device", "cpu"}), 2,
                   "--precision tf32 is for products");
    expect_refused(place({"table", "kk"}), 2, "no such row or group; did you mean 'k'?");
    place.write("big.toml", "[[row]]\nid = \"b\"\nheads = []\n");
    expect_refused(place({"sweep", "big.toml"}), 2, "big.toml:3: heads: expected at least one value");
    place.write("big.toml", "[[row]]\nid = \"b\"\nheads = [1, 2, 1]\n");
    expect_refused(place({"sweep", "big.toml"}), 2, "big.toml:3: heads: 1 is given twice");
}
