// The scripts around a GPU node: tools/gpu_go.sh within its budget and when killed, with fake programs;
// tools/merge_results.sh; and the Makefile with an nvcc that is old or knows few architectures.
// Not in the sanitizers' builds: these tests run shell scripts.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <map>
#include <sstream>

#include "study/plan.h"
#include "study/results.h"
#include "tests/faults/program.h"

using namespace fci;

namespace {

namespace fs = std::filesystem;

void write_script(const std::string& path, const std::string& text) {
    std::ofstream(path) << "#!/usr/bin/env bash\n" << text;
    ::chmod(path.c_str(), 0755);
}

// A kit as tools/gpu_kit.sh makes it, in a folder whose name has a space. FAKE_DEVICE and FAKE_HANG, the command that
// never ends, are for the fake fci.
std::string make_kit(const Scratch& scratch) {
    const std::string kit = scratch / "a kit";
    fs::create_directories(kit);
    fs::copy_file("tools/gpu_go.sh", kit + "/go.sh");
    std::ofstream(kit + "/kit.txt") << "commit=0123456789ab\nglibc=2.17\ncublas=13\n";
    write_script(kit + "/fci", R"(
[ "$1" != "${FAKE_HANG:-}" ] || { echo $$ >"$WORK/hangs"; while :; do sleep 0.1; done; }
case "$1 $2" in
    "train --device") echo "{\"device\":\"$FAKE_DEVICE\"}" ;;
    "bench --device") echo '{"device":"cuda","steps":[]}' ;;
    "sweep all")
        mkdir -p runs/out/sweep/x runs/out/results
        printf '\2\0\0\0\0\0\0\0{}0123' >runs/out/sweep/x/checkpoint.safetensors
        echo '{"seed":1,"seconds":1,"representation":"transformer:1","device":"gpu"}' >runs/out/results/smoke.jsonl ;;
    "sweep order")
        while [ $# -gt 0 ]; do [ "$1" != --results ] || to=$2; shift; done
        echo '{"seed":1}' >>"$to/paper.jsonl" ;;
esac
)");
    write_script(kit + "/run_gpu", R"([ "$1" = '[twin]' ] && echo 'test cases: 2 | 1 passed | 1 failed' && exit 1
yes '0123456789' | head -n 200000
echo 'All tests passed (2 assertions in 1 test case)')");
    write_script(kit + "/ladder", "echo a ladder\n");
    fs::create_directories(scratch / "bin"); // programs that a node may have
    write_script(scratch / "bin/python3", R"([ "$1" = -c ] && exit
out=$3
shift 3
for flags in "$@"; do echo "{\"flags\":\"$flags\"}" >>"$out"; done)");
    write_script(scratch / "bin/ncu", "echo ' forward_kernel, Context 1, Stream 7'; echo ' Duration us 1'");
    write_script(scratch / "bin/compute-sanitizer", "echo '========= ERROR SUMMARY: 3 errors'; exit 9");
    return kit;
}

// go.sh BUDGET PART ...
struct Go : Child {
    Go(const Scratch& scratch, const std::string& kit, const Words& words, const std::string& hang = "",
       const std::string& device = "a GPU")
        : Child(
              Words{"bash", kit + "/go.sh"} + words,
              [&] {
                  ::setenv("OUT", (scratch / "out").c_str(), 1), ::setenv("WORK", (scratch / "work").c_str(), 1);
                  const std::string path = std::getenv("PATH");
                  ::setenv("PATH", (scratch / "bin:" + path).c_str(), 1);
                  ::setenv("FAKE_DEVICE", device.c_str(), 1), ::setenv("FAKE_HANG", hang.c_str(), 1);
              },
              "", "/usr/bin/env") {}
};

// Verdicts by part; the first line is the heading, and the last line of a part counts. Each line has four columns.
std::map<std::string, Words> verdicts(const Scratch& scratch) {
    std::istringstream in(read_file(scratch / "out/table.tsv"));
    std::map<std::string, Words> table;
    std::string line;
    for (std::getline(in, line); std::getline(in, line);) {
        std::istringstream fields(line);
        Words words;
        for (std::string w; std::getline(fields, w, '\t');) words.push_back(w);
        INFO(line);
        REQUIRE(words.size() == 4);
        table[words[0]] = {words[1], words[2], words[3]};
    }
    return table;
}

void expect_small(const Scratch& scratch) {
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(scratch / "out")) {
        if (entry.is_directory()) continue;
        ++files;
        CHECK(entry.file_size() < 2 << 20);
        CHECK((entry.path().parent_path() == scratch / "out" || entry.path().parent_path() == scratch / "out/results"));
    }
    CHECK(files <= 8);
}

} // namespace

TEST_CASE("kit: every part has its verdict, and what it measured is written", "[kit]") {
    const Scratch scratch;
    const std::string kit = make_kit(scratch);
    std::ofstream(kit + "/peer.py") << "#";
    expect_ran(Go(scratch, kit, {"900"}).wait(), 1, "1 passed | 1 failed");
    const auto table = verdicts(scratch);
    CHECK(table.at("kit")[0] == "starts");
    CHECK(table.at("twins")[0] == "FAIL");
    CHECK(table.at("twins")[2] == "test cases: 2 | 1 passed | 1 failed");
    CHECK(table.at("memcheck")[0] == "FAIL");
    CHECK(table.at("memcheck")[2] == "========= ERROR SUMMARY: 3 errors");
    for (const char* part : {"smoke", "trainer", "same_seed_twice", "four_at_once", "bench", "bench_tf32",
                             "bench_fp16x3", "peer", "ladder", "ncu", "record", "curves"}) {
        INFO(part << ": " << table.at(part)[2]);
        CHECK(table.at(part)[0] == "pass");
    }
    CHECK(table.at("peer")[2] == "28 of 28 measured");
    const std::string peer = read_file(scratch / "out/peer.jsonl");
    CHECK(std::count(peer.begin(), peer.end(), '\n') == 28);
    CHECK(peer.find("--representation sparse-transformer:1 --mode graphs --tf32") != std::string::npos);
    CHECK(read_file(scratch / "out/ncu.txt").find("Duration") != std::string::npos);
    CHECK(table.at("record")[2].starts_with("1 new result"));
    CHECK(read_file(scratch / "out/bench.jsonl").ends_with("]}\n"));
    CHECK(read_file(scratch / "out/ladder.txt") == "a ladder\n");
    CHECK(read_file(scratch / "out/results/paper.jsonl") == "{\"seed\":1}\n");
    const std::string log = read_file(scratch / "out/log.txt");
    CHECK(log.find("All tests passed") != std::string::npos); // the end of an output that was too long
    CHECK(log.find("== ladder, ") != std::string::npos);
    expect_small(scratch);
}

TEST_CASE("kit: cuda/README.md has the budgets of go.sh", "[kit][docs]") {
    std::istringstream go(read_file("tools/gpu_go.sh"));
    const std::string readme = read_file("cuda/README.md");
    int parts = 0;
    for (std::string word; go >> word;) {
        if (word != "check" && word != "real") continue;
        std::string part, expected, most;
        go >> part >> expected >> most;
        if (expected.empty() || expected.find_first_not_of("0123456789") != std::string::npos) continue;
        ++parts;
        if (part.starts_with('"')) part = "memcheck"; // memcheck and similar
        if (most.starts_with('"')) most = "what is left";
        CHECK(readme.find("| " + part + " | " + expected + " | " + most + " |") != std::string::npos);
    }
    CHECK(parts == 14);
}

TEST_CASE("kit: on a mock of a GPU nothing passes", "[kit]") {
    const Scratch scratch;
    expect_ran(Go(scratch, make_kit(scratch), {"900"}, "", "mock of CUDA").wait(), 0, "not proved (mock)");
    const auto table = verdicts(scratch);
    CHECK(table.size() == 15);
    for (const auto& [part, words] : table) {
        INFO(part << ": " << words[0]);
        CHECK((words[0] == "not proved (mock)" || (words[0] == "skipped") == (part == "peer")));
        CHECK(words[0] != "pass");
    }
}

TEST_CASE("kit: a part that hangs ends in time, and what does not fit is not started", "[kit]") {
    const Scratch scratch;
    const std::string kit = make_kit(scratch);
    const auto begin = std::chrono::steady_clock::now();
    const Ran r = Go(scratch, kit, {"18", "ladder", "record"}, "train").wait();
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(18));
    expect_ran(r, 1, "not done after");
    const auto table = verdicts(scratch);
    CHECK(table.at("smoke")[0] == "FAIL");
    for (const char* part : {"ladder", "record"}) {
        CHECK(table.at(part)[0] == "skipped");
        CHECK(table.at(part)[2].find("s are left") != std::string::npos);
    }
    expect_ran(Go(scratch, kit, {"5"}).wait(), 2, "too short");
    expect_ran(Go(scratch, kit, {"100", "ledder"}).wait(), 2, "ledder is not one of");
    expect_ran(Go(scratch, kit, {"soon"}).wait(), 2, "whole number of seconds");
}

TEST_CASE("kit: killed, it leaves what was known by then, and nothing that runs on", "[kit]") {
    for (const int signal : {SIGKILL, SIGTERM}) {
        const Scratch scratch;
        Go go(scratch, make_kit(scratch), {"900", "ladder", "bench"}, "bench");
        const std::string hangs = scratch / "work/hangs";
        for (int i = 0; i < 200 && !fs::exists(hangs); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
        REQUIRE(fs::exists(hangs));
        go.kill(signal);
        CHECK(go.wait().code == 128 + signal);
        const auto table = verdicts(scratch);
        CHECK(table.at("ladder")[0] == "pass");
        CHECK(table.contains("bench") == (signal == SIGTERM));
        CHECK(read_file(scratch / "out/ladder.txt") == "a ladder\n");
        expect_small(scratch);
        if (signal == SIGKILL && std::system("setpriv --pdeathsig TERM true 2>/dev/null") != 0) continue;
        const pid_t child = std::stoi(read_file(hangs));
        for (int i = 0; i < 100 && ::kill(child, 0) == 0; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        CHECK(::kill(child, 0) != 0);
    }
}

TEST_CASE("kit: merged results are those of commits of ours that the record lacks", "[kit]") {
    const Scratch scratch;
    std::string commit;
    if (FILE* git = ::popen("git rev-parse --short=12 HEAD 2>/dev/null", "r")) {
        char text[64] = "";
        if (std::fgets(text, sizeof text, git)) commit = std::string(text, std::strcspn(text, "\n"));
        ::pclose(git);
    }
    if (commit.empty()) {
        WARN("skipped: this is not a git repository");
        return;
    }
    const auto with = [](std::string line, const std::string& key, const std::string& value) {
        const size_t at = line.find("\"" + key + "\":\"") + key.size() + 4;
        return line.replace(at, line.find('"', at) - at, value);
    };
    std::vector<std::string> notes, lines; // as if built from this commit
    const Results recorded("runs/results", "paper", notes);
    for (const auto& [hash, r] : recorded.all())
        if (lines.size() < 6 && r.hash == run_hash(r.options)) lines.push_back(with(to_json(r), "git", commit));
    REQUIRE(lines.size() == 6);
    const auto write = [](const std::string& path, const std::vector<std::string>& all) {
        fs::create_directories(fs::path(path).parent_path());
        std::ofstream out(path);
        for (const std::string& line : all) out << line << '\n';
    };
    const std::string record = scratch / "record/paper.jsonl", out = scratch / "an out";
    const auto merge = [&](const Words& from) {
        return Child(
                   Words{"bash", "tools/merge_results.sh"} + from,
                   [&] {
                       ::setenv("RECORD", (scratch / "record").c_str(), 1), ::setenv("FCI_BIN", program().c_str(), 1);
                   },
                   "", "/usr/bin/env")
            .wait();
    };
    write(record, {lines[0]});
    write(out + "/results/paper.jsonl",
          {lines[0], lines[1], lines[1], with(lines[2], "git", commit + "-dirty"),
           with(lines[2], "git", "0123456789ab"), with(lines[3], "device", "mock of CUDA"), lines[4],
           lines[5].substr(0, lines[5].size() / 2)});
    const Ran first = merge({out});
    expect_ran(first, 0, "2 new, 2 known, 4 refused");
    for (const char* why : {"had changes", "not known here", "was a mock", "cut short"})
        CHECK(first.err.find(why) != std::string::npos);
    CHECK(read_file(record) == lines[0] + "\n" + lines[1] + "\n" + lines[4] + "\n");
    expect_ran(merge({out + "/results/paper.jsonl"}), 0, "0 new, 4 known, 4 refused");

    const std::string before = read_file(record), broken = scratch / "paper.jsonl";
    std::string wrong = lines[5];
    wrong.replace(wrong.find("\"queries\""), 9, "\"quarries\"");
    write(broken, {lines[3], wrong}); // complete, of this commit, but not a result: fci says so, and nothing is added
    expect_ran(merge({broken}), 3, "not a result");
    write(broken, {lines[3], with(lines[5], "hash", "0123456789abcdef")});
    expect_ran(merge({broken}), 3, "another hash");
    CHECK(read_file(record) == before);
    expect_ran(merge({scratch / "nothing"}), 2, "is not there");
    expect_ran(merge({}), 2, "usage");
}

// An nvcc in a folder whose name has a space.
TEST_CASE("make: asks nvcc what it can, and leaves CUDA out where it is too old", "[kit]") {
    if (std::system("make --version >/dev/null 2>&1") != 0) {
        WARN("skipped: there is no make");
        return;
    }
    const Scratch scratch;
    const std::string home = scratch / "old cuda";
    fs::create_directories(home + "/bin");
    write_script(home + "/bin/nvcc", R"(
case "$*" in
    *--list-gpu-arch*) printf 'compute_50\ncompute_80\ncompute_90\n' ;;
    *-std=c++20*) [ -z "${FAKE_OLD:-}" ] ;;
esac)");
    const auto make = [&](bool old, const std::string& target) { // the commands that make would run
        const auto plain = [&] {                                 // independent of the make that runs these tests
            for (const char* name : {"MAKEFLAGS", "NVCC", "NVCCFLAGS", "CUDA_ARCH", "CUDA_PTX"}) ::unsetenv(name);
            ::setenv("FAKE_OLD", old ? "1" : "", 1);
        };
        const Words words{"make", "-n", "V=1", "BUILD=" + (scratch / "build"), "CUDA_HOME=" + home, target};
        return Child(words, plain, "", "/usr/bin/env").wait();
    };
    const Ran newer = make(false, scratch / "build/cuda/gemm.cu.o");
    expect_ran(newer, 0, "\"" + home + "/bin/nvcc\" ");
    CHECK(newer.out.find("code=sm_80 ") != std::string::npos);
    CHECK(newer.out.find("code=sm_90 ") != std::string::npos);
    CHECK(newer.out.find("code=compute_90 ") != std::string::npos);
    CHECK(newer.out.find("120") == std::string::npos);
    CHECK(newer.out.find("-DFCI_CUDA_HOME=\"" + home + "\"") != std::string::npos);
    const Ran older = make(true, scratch / "build/fci");
    expect_ran(older, 0, "CUDA is left out: " + home + "/bin/nvcc compiles no C++20");
    CHECK(older.out.find(".cu.o") == std::string::npos);
    CHECK(older.out.find("cudart") == std::string::npos);
}
#endif
