// The host code of the GPU half, as shipped, linked with a mock of the CUDA runtime (tests/mock): no violation in any
// training; and controls, which the mock must catch. `make test` passes the mock's folder in FCI_MOCK if nvcc is
// installed.
#include <map>
#include <sstream>

#include "nn/representation.h"
#include "routing/router.h"
#include "study/results.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

std::string mock(const char* name) { // "": not built
    const char* folder = std::getenv("FCI_MOCK");
    if (folder && *folder) return fs::absolute(std::string(folder) + "/" + name);
    WARN("SKIPPED: the mock of CUDA needs nvcc's objects, and is not built");
    return "";
}

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, at);) parts.push_back(part);
    return parts;
}

// A command run on the mock, and the mock's report.
struct Mocked {
    Ran ran;
    std::map<std::string, long> total;
    std::vector<std::vector<std::string>> nodes;       // the fields of each line
    std::map<std::string, std::vector<long>> of_graph; // by graph number: nodes, replays

    explicit Mocked(const Words& words, const std::string& in_folder = "", const std::string& program = mock("fci")) {
        const Scratch scratch;
        const std::string report = scratch / "report";
        ran = Child(
                  words,
                  [&] {
                      ::setenv("FCI_MOCK_GRAPHS", report.c_str(), 1);
                      if (!in_folder.empty() && ::chdir(in_folder.c_str()) != 0) ::_exit(126);
                  },
                  "", program)
                  .wait();
        if (!fs::exists(report)) return; // it did not use the GPU
        for (const std::string& line : split(read_file(report), '\n')) {
            const std::vector<std::string> field = split(line, '\t');
            if (field[0] == "total") total[field[1]] = std::stol(field[2]);
            if (field[0] == "node") nodes.push_back(field);
            if (field[0] == "graph") of_graph[field[1]] = {std::stol(field[5])};
            if (field[0] == "replayed") of_graph[field[1]].push_back(std::stol(field[2]));
        }
    }
};

Words run_of(const std::string& out, const Words& more = {}) {
    return tiny_run(out) + Words{"--device", "cuda", "--quiet"} + more;
}

void expect_clean(const Mocked& m) {
    INFO("out: " << m.ran.out << "\nerr: " << m.ran.err);
    REQUIRE(m.ran.code == 0);
    CHECK(m.ran.err.find("mock of CUDA: ") == std::string::npos);
    CHECK(m.total.at("violations") == 0);
    CHECK(m.total.at("replays") > 0);
}

} // namespace

TEST_CASE("mock of CUDA: catches each seeded violation, and nothing else", "[mock]") {
    const std::string controls = mock("controls");
    if (controls.empty()) return;
    const std::vector<std::string> all = split(Child({}, {}, "", controls).wait().out, '\n');
    CHECK(all.size() > 45);
    for (const std::string& line : all) {
        const std::vector<std::string> control = split(line, '\t'); // name; what the mock must report
        const Ran r = Child({control[0]}, {}, "", controls).wait();
        INFO(control[0] << ": exit code " << r.code << "\n" << r.err);
        if (control.size() == 1) {
            CHECK(r.code == 0);
            CHECK(r.err.empty());
            continue;
        }
        CHECK(r.code == 9);
        CHECK(r.err.find("mock of CUDA: violation, thread ") != std::string::npos);
        CHECK(r.err.find(control[1]) != std::string::npos);
    }
}

TEST_CASE("mock of CUDA: every representation, every router and wide models train without a violation", "[mock]") {
    if (mock("fci").empty()) return;
    const auto trains = [](const Words& more) {
        const Scratch scratch;
        INFO(fmt::format("{}", fmt::join(more, " ")));
        const Mocked m(run_of(scratch / "run", more));
        expect_clean(m);
        CHECK(m.of_graph.size() >= 2); // the step, and a batch of the test
    };
    for (const RepresentationKind* kind : representations()) trains({"--representation", kind->name});
    for (const RouterKind* router : routers())
        if (router->type == RouterKind::in_model && router->routes()) trains({"--router", router->name});
    trains({"--representation", "transformer:2"});
    for (const char* representation : {"transformer:1", "sparse-transformer:1", "linear-attention:1", "perceiver:64",
                                       "budgeted-attention:0.25", "bidir-flow:1"})
        trains({"--representation", representation, "--d-model", "512", "--heads", "8", "--length", "512", "--batch",
                "16", "--top-k", "40", "--precision", "tf32"});
    trains({"--contrastive", "frozen"});
    trains({"--router-norm", "--embeddings", "anchors", "--queries", "many", "--vocab", "8192", "--length", "64"});
    trains({"--test-sequences", "3"}); // less than a batch
    const Scratch scratch;             // without a router, --top-k is not allowed
    expect_clean(Mocked(Words{"train"} + tiny_data() +
                        Words{"--router", "none", "--sequences", "64", "--test-sequences", "32"} +
                        Words{"--epochs", "2", "--batch", "8", "--device", "cuda", "--out", scratch / "run"}));
}

TEST_CASE("mock of CUDA: a run that stops and goes on, and several positions that are right", "[mock]") {
    if (mock("fci").empty()) return;
    const Scratch scratch;
    const std::string out = scratch / "run";
    expect_clean(Mocked(run_of(out, {"--stop-after", "2"})));
    expect_clean(Mocked({"train", "--resume", out, "--device", "cuda", "--quiet"}));
    const Words text = Words{"train", "--task", "hotpotqa", "--length", "96", "--vocab", "256", "--sequences", "64"} +
                       Words{"--test-sequences", "40", "--epochs", "2", "--d-model", "16", "--heads", "2", "--quiet"};
    expect_clean(Mocked(text + Words{"--device", "cuda", "--out", scratch / "text"}));
}

// During an epoch the host gets only the log and the counts, and makes no query to the driver.
TEST_CASE("mock of CUDA: an epoch copies no parameters, and repeats no question", "[mock]") {
    if (mock("fci").empty()) return;
    const auto of_epochs = [](const char* epochs) {
        const Scratch scratch;
        const Words run = Words{"train", "--task", "mqar", "--length", "128", "--sequences", "640", "--epochs", "8"} +
                          Words{"--test-sequences", "70", "--checkpoint-every", "1000", "--device", "cuda", "--quiet"};
        return Mocked(run + Words{"--stop-after", epochs, "--out", scratch / "run"});
    };
    const Mocked few = of_epochs("2"), more = of_epochs("6");
    expect_clean(few), expect_clean(more);
    const auto of_epoch = [&](const char* what) { return (more.total.at(what) - few.total.at(what)) / 4; };
    CHECK(of_epoch("bytes in") < 640 * 4 + 100);  // the order, and where the epoch begins
    CHECK(of_epoch("bytes out") < 20 * 48 + 100); // the log of 20 steps, and counts
    CHECK(of_epoch("launches") == 0);             // all work is replayed
    CHECK(of_epoch("questions") == 0);
    CHECK(more.total.at("questions") > 0); // attention has more than 48 KB of shared memory
    CHECK(of_epoch("allocations") == 0);
    CHECK(of_epoch("replays") == 20 + 3); // steps, and the test's batches, the last not full
}

TEST_CASE("mock of CUDA: reports the nodes of each graph", "[mock]") {
    if (mock("fci").empty()) return;
    const Scratch scratch;
    const Mocked m(run_of(scratch / "run"));
    expect_clean(m);
    std::map<std::string, long> nodes, updates;
    for (const std::vector<std::string>& field : m.nodes) { // named as in README.md
        ++nodes[field[1]], updates[field[1]] += field[3] == "adamw_kernel (step)";
        if (field[2] != "kernel") continue;
        REQUIRE(field.size() == 12);
        INFO(field[3]);
        const long registers = std::stol(field[6]), blocks = std::stol(field[9]), occupancy = std::stol(field[10]);
        CHECK((registers >= 8 && registers <= 255));
        CHECK((blocks >= 1 && blocks <= 32));
        CHECK((occupancy > 0 && occupancy <= 100));
    }
    long steps = 0;
    for (const auto& [number, counted] : m.of_graph) {
        CHECK(counted.at(0) == nodes[number]);
        CHECK(updates[number] <= 1);
        if (updates[number]) steps += counted.at(1);
    }
    CHECK(steps == 3 * 8 - 1); // the first, uncaptured step sized the arenas
}

// Each node takes about a microsecond in which a GPU does nothing else: this test shows any added node.
TEST_CASE("mock of CUDA: how many nodes a step has", "[mock]") {
    if (mock("fci").empty()) return;
    const std::tuple<const char*, const char*, int> cases[] = {{"raw", "fp32", 14},
                                                               {"transformer:1", "fp32", 42},
                                                               {"bidir-flow:1", "fp32", 41},
                                                               {"transformer:1", "fp16x3", 42},
                                                               {"bidir-flow:1", "fp16x3", 45}};
    for (const auto& [representation, precision, most] : cases) {
        const Scratch scratch;
        const Mocked m(Words{"train", "--task", "der", "--representation", representation, "--sequences", "64"} +
                       Words{"--test-sequences", "32", "--stop-after", "2", "--device", "cuda", "--quiet"} +
                       Words{"--precision", precision, "--out", scratch / "run"});
        expect_clean(m);
        std::string step;
        for (const std::vector<std::string>& field : m.nodes)
            if (field[3] == "adamw_kernel (step)") step = field[1];
        INFO(representation << " " << precision);
        CHECK(m.of_graph.at(step).at(0) == most);
    }
}

TEST_CASE("mock of CUDA: a sweep of four jobs has no violation, and no result", "[mock]") {
    const std::string program = mock("fci");
    if (program.empty()) return;
    const Scratch scratch;
    fs::create_directories(scratch / "runs");
    write_file_atomically(
        scratch / "runs/scales.toml",
        "[tiny]\nlearning_rates = [1e-2]\nsequences = 64\ntest_sequences = 32\nepochs = 3\nbatch = 8\n"
        "d_model = 16\nheads = 2\ntop_k = 2\n[tiny.mqar]\nlength = 32\npairs = 4\nvocab = 16\n");
    std::string rows;
    for (const char* representation : {"raw", "transformer:1", "fourier:1", "sparse-transformer:1", "flow:1"})
        rows += fmt::format("[[row]]\nid = \"a.{0}\"\nrepresentation = \"{0}\"\npaper = {{ routing = \"1\" }}\n",
                            representation);
    write_file_atomically(scratch / "runs/rows.toml", rows);
    const Words scale{"--scale", "tiny", "--seeds", "2"};
    const Mocked m(Words{"sweep", "all", "--device", "cuda", "--jobs", "4", "--threads", "1"} + scale, scratch.path);
    expect_clean(m);
    CHECK(m.total.at("threads") >= 4);
    CHECK(m.ran.out.find("10/10") != std::string::npos);
    const Mocked table(Words{"table", "all"} + scale, scratch.path);
    INFO(table.ran.out << table.ran.err);
    CHECK((table.ran.out + table.ran.err).find("10 results in") != std::string::npos);
    const Mocked bench({"bench", "--device", "cuda"});
    CHECK(bench.ran.code == 2);
    CHECK(bench.ran.err.find("whose times mean nothing") != std::string::npos);
}
