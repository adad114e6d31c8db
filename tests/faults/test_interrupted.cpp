// Runs that are stopped, killed or out of disk space: they can be resumed, and end with the bits of an undisturbed run.
#include <simdjson.h>

#include <random>

#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// 60 epochs of 8 steps, with checkpoints within epochs too: takes some tenths of a second.
Words long_run(const std::string& out) { return tiny_run(out) + Words{"--epochs", "60", "--checkpoint-every", "5"}; }
constexpr int long_steps = 480;

const std::string& uninterrupted() {
    static const Scratch scratch;
    static const std::string folder = [] {
        expect_ran(run(long_run(scratch / "run")), 0);
        return scratch / "run";
    }();
    return folder;
}

int lines_in(const std::string& path) {
    std::ifstream in(path);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

void wait_for_lines(Child& child, const std::string& log, int lines) {
    while (child.running() && lines_in(log) < lines) std::this_thread::sleep_for(1ms);
}

// Each step and each epoch exactly once, in order, and the final test last.
void expect_whole_log(const std::string& path) {
    simdjson::dom::parser parser;
    const std::string text = read_file(path);
    REQUIRE(text.back() == '\n');
    int64_t steps = 0, epochs = 0, finals = 0;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        INFO(line);
        const simdjson::dom::element json = parser.parse(line);
        REQUIRE(finals == 0);
        if (std::string_view(json["type"]) == "final") {
            ++finals;
            continue;
        }
        const bool step = std::string_view(json["type"]) == "step";
        REQUIRE(int64_t(json[step ? "step" : "epoch"]) == ++(step ? steps : epochs));
    }
    REQUIRE(steps == long_steps);
    REQUIRE(epochs == 60);
    REQUIRE(finals == 1);
}

void expect_resumes_to_the_end(const std::string& folder) {
    expect_ran(run({"train", "--resume", folder, "--quiet"}), 0);
    CHECK(same_tensors(folder, uninterrupted()));
    expect_whole_log(folder + "/log.jsonl");
}

// Only complete files: a kill may leave a temporary one, which nothing reads.
bool has_only_run_files(const std::string& folder) {
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (name != "config.toml" && name != "log.jsonl" && name != "checkpoint.safetensors" && name != "lock")
            return false;
    }
    return true;
}

} // namespace

TEST_CASE("interrupted: a signal amid contrastive pretraining ends it, and the run can be started over", "[cli]") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    const Words words{"train",  "--task",      "mqar", "--representation", "raw", "--contrastive",
                      "frozen", "--sequences", "8000", "--epochs",         "1",   "--out",
                      folder,   "--quiet"};
    const auto stopped = [&] {
        fs::remove_all(folder);
        Child child(words);
        while (!fs::exists(folder + "/log.jsonl")) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(50ms); // it has 2500 steps
        child.kill(SIGINT);
        return child.wait();
    };
    Ran r = stopped();
    for (int attempt = 0; r.code == 128 + SIGINT && attempt < 9; ++attempt) r = stopped(); // it had no handler yet
    expect_ran(r, 75, "contrastive pretraining");
    CHECK(lines_in(folder + "/log.jsonl") == 0);
}

TEST_CASE("interrupted: SIGINT and SIGTERM write a checkpoint, exit 75, and the run goes on with the same bits",
          "[cli]") {
    const auto stopped = [](const Words& words, const std::string& log, int lines, int signal) {
        Child child(words);
        wait_for_lines(child, log, lines);
        child.kill(signal);
        return child.wait();
    };
    for (const int signal : {SIGINT, SIGTERM}) {
        INFO("signal " << signal);
        const Scratch scratch;
        const std::string folder = scratch / "run", log = folder + "/log.jsonl";
        Ran r = stopped(long_run(folder), log, 33, signal);
        for (int attempt = 0; r.code == 0 && attempt < 9; ++attempt) { // the run ended before our signal
            fs::remove_all(folder);
            r = stopped(long_run(folder), log, 33, signal);
        }
        expect_ran(r, 75, "./fci train --resume " + folder);
        CHECK(has_only_run_files(folder));
        const int64_t steps = std::stoll(SafetensorsFile(checkpoint_in(folder)).metadata().at("step"));
        CHECK((steps >= 28 && steps < long_steps));
        CHECK(r.out.find(fmt::format("stopped at step {}:", steps)) != std::string::npos);
        CHECK(lines_in(log) == steps + steps / 8); // the checkpoint is of the last step logged

        r = stopped({"train", "--resume", folder, "--threads", "2"}, log, 200, signal); // other threads, same bits
        expect_ran(r, r.code == 0 ? 0 : 75, fmt::format("resumed {} at step {} of {}", folder, steps, long_steps));
        expect_resumes_to_the_end(folder);
    }
}

TEST_CASE("interrupted: killed at random moments, a run ends with the same bits", "[cli]") {
    uninterrupted();
    const auto start = std::chrono::steady_clock::now();
    { // measures how long it takes on this machine
        const Scratch scratch;
        expect_ran(run(long_run(scratch / "run")), 0);
    }
    const auto whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
    std::mt19937 random(std::random_device{}()); // other moments each time: a failure prints its folder and kills
    std::string kills;
    for (int trial = 0; trial < 3; ++trial) {
        const Scratch scratch;
        const std::string folder = scratch / "run";
        for (int kill = 0; kill < 2; ++kill) {
            // Before its config file exists, a run has done nothing yet: start it again.
            const bool begun = fs::exists(folder + "/config.toml");
            if (!begun) fs::remove_all(folder);
            Child child(begun ? Words{"train", "--resume", folder} : long_run(folder));
            const auto moment = whole * std::uniform_real_distribution<>(0.05, 0.6)(random);
            std::this_thread::sleep_for(moment);
            child.kill(SIGKILL);
            const Ran r = child.wait();
            kills +=
                fmt::format(" trial {}: {} after {:.4f} s with {} lines;", trial, begun ? "resumed" : "started",
                            moment.count(), fs::exists(folder + "/log.jsonl") ? lines_in(folder + "/log.jsonl") : 0);
            CHECK((r.code == 128 + SIGKILL || r.code == 0));
        }
        INFO(kills);
        if (!fs::exists(folder + "/config.toml")) continue;
        expect_resumes_to_the_end(folder);
    }
}

TEST_CASE("interrupted: killed before the first checkpoint, a run starts over", "[cli]") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    expect_ran(run(long_run(folder) + Words{"--stop-after", "1"}), 0);
    fs::remove(checkpoint_in(folder)); // as if it had been killed in its first epoch
    const Ran r = run({"train", "--resume", folder, "--stop-after", "2"});
    expect_ran(r, 0, "has no checkpoint yet: starting over");
    expect_resumes_to_the_end(folder);
}

TEST_CASE("interrupted: a run whose checkpoint is lost is not started over, and its log stays", "[cli]") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    expect_ran(run(long_run(folder) + Words{"--stop-after", "2"}), 0);
    const std::string log = read_file(folder + "/log.jsonl");
    fs::remove(checkpoint_in(folder));
    expect_refused(run({"train", "--resume", folder}), 3, "not there, but log.jsonl has 2 epochs");
    CHECK(read_file(folder + "/log.jsonl") == log);
}

TEST_CASE("interrupted: on a full disk the run ends with a message, and what was written stays good", "[cli]") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    // There is room for the config file and some of the log, but not for the checkpoint of 107 KB.
    const Ran r = run(long_run(folder), [] { limit_file_size(50'000); });
    expect_ran(r, 1, "checkpoint.safetensors: cannot be written: File too large");
    CHECK(r.err.find("ulimit -f") != std::string::npos);
    CHECK(has_only_run_files(folder));
    CHECK_FALSE(fs::exists(checkpoint_in(folder)));
    expect_resumes_to_the_end(folder);

    // With the limit's signal, as after a shell's `ulimit -f`; here a checkpoint exists, and stays unchanged.
    const std::string again = scratch / "again";
    expect_ran(run(long_run(again) + Words{"--stop-after", "2"}), 0);
    const std::string checkpoint = read_file(checkpoint_in(again));
    const Ran full = run({"train", "--resume", again}, [] {
        limit_file_size(50'000);
        std::signal(SIGXFSZ, SIG_DFL);
    });
    expect_ran(full, 1, "cannot be written: File too large");
    CHECK(read_file(checkpoint_in(again)) == checkpoint);
    expect_resumes_to_the_end(again);

    // The log runs out of space long before the first checkpoint: its torn last line is removed.
    const std::string third = scratch / "third";
    const Ran torn = run(long_run(third) + Words{"--checkpoint-every", "100"}, [] { limit_file_size(3000); });
    expect_ran(torn, 1, "log.jsonl: cannot be written: File too large");
    CHECK(read_file(third + "/log.jsonl").back() == '\n');
    expect_resumes_to_the_end(third);
}

// All of six models: 1,000 kills and 500 signals; each run ends with the bits of an undisturbed one.
TEST_CASE("interrupted: killed and signalled at random moments, every model ends with the same bits", "[.][campaign]") {
    const auto kills = GENERATE(true, false);
    std::mt19937 random(std::random_device{}());
    const std::vector<int> asking{SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU};
    for (const std::string model :
         {"raw", "transformer:1", "flow:1", "bidir-flow:1", "perceiver:4", "budgeted-attention:0.5"}) {
        const auto words = [&](const std::string& out) {
            return tiny_run(out) + Words{"--representation", model, "--epochs", "12", "--checkpoint-every", "5"};
        };
        const Scratch scratch;
        const auto start = std::chrono::steady_clock::now();
        expect_ran(run(words(scratch / "whole")), 0);
        const auto whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
        int done = 0;
        for (int trial = 0; done < (kills ? 167 : 84); ++trial) {
            const std::string folder = scratch / std::to_string(trial);
            std::string story;
            for (int code = -1; code != 0;) {
                const bool begun = fs::exists(folder + "/config.toml");
                if (!begun) fs::remove_all(folder);
                Child child(begun ? Words{"train", "--resume", folder, "--quiet"} : words(folder) + Words{"--quiet"});
                const int signal = kills ? SIGKILL : asking[random() % asking.size()];
                std::this_thread::sleep_for(whole * std::uniform_real_distribution<>(0.02, 1.1)(random));
                done += child.running();
                child.kill(signal);
                const Ran r = child.wait();
                code = r.code;
                story += fmt::format(" {}{} -> {} {}", begun ? "resumed, " : "started, ", signal, code, r.err);
                INFO(model << ":" << story);
                // A signal before the handler is installed ends it as any program.
                REQUIRE((code == 0 || code == 75 || code == 128 + signal));
                REQUIRE((code != 128 + signal || kills || !fs::exists(folder + "/log.jsonl") || begun));
            }
            INFO(model << ":" << story);
            REQUIRE(same_tensors(folder, scratch / "whole"));
            fs::remove_all(folder);
        }
    }
}
