// The program as a process: signals at any time, standard streams that cannot be written, limits on memory, processors
// of a control group, numbers that are not finite.
#include <sys/resource.h>

#include <array>
#include <cmath>
#include <limits>

#include "core/workers.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// Epochs of 8 steps and of an evaluation that takes a hundred times as long.
Words slow_test(const std::string& out) { return tiny_run(out) + Words{"--test-sequences", "4000"}; }

bool log_has(const std::string& folder, const std::string& part) {
    std::ifstream in(folder + "/log.jsonl");
    return std::string(std::istreambuf_iterator<char>(in), {}).find(part) != std::string::npos;
}

void wait_for(Child& child, const std::function<bool()>& done) {
    while (child.running() && !done()) std::this_thread::sleep_for(1ms);
}

std::string with_number(const std::string& checkpoint, const std::string& tensor, float x, const std::string& to) {
    const SafetensorsFile file(checkpoint);
    std::vector<StoredTensor> tensors = file.tensors();
    std::vector<float> changed;
    for (StoredTensor& t : tensors)
        if (t.name == tensor) {
            changed.resize(t.bytes / sizeof(float));
            std::memcpy(changed.data(), t.data, t.bytes);
            changed[changed.size() / 2] = x;
            t.data = changed.data();
        }
    REQUIRE_FALSE(changed.empty());
    auto metadata = file.metadata();
    metadata.erase("checksum");
    write_safetensors(to, tensors, metadata);
    return to;
}

} // namespace

TEST_CASE("signals: amid an evaluation, twice at once: a checkpoint, and the evaluation is made on resuming", "[cli]") {
    const Scratch scratch;
    expect_ran(run(slow_test(scratch / "whole") + Words{"--stop-after", "2"}), 0);
    for (const auto& [first, second] : {std::pair(SIGINT, SIGINT), {SIGINT, SIGTERM}}) {
        const std::string folder = scratch / ("run" + std::to_string(second));
        Child child(slow_test(folder) + Words{"--stop-after", "2"});
        wait_for(child, [&] { return log_has(folder, "\"step\":8,"); });
        child.kill(first);
        std::this_thread::sleep_for(20ms);
        child.kill(second);
        const Ran r = child.wait();
        expect_ran(r, 75, "./fci train --resume " + folder);
        CHECK(r.err == "stopping ...\n");
        CHECK(log_has(folder, "\"step\":8,"));
        CHECK_FALSE(log_has(folder, "\"type\":\"epoch\""));
        expect_ran(run({"train", "--resume", folder, "--stop-after", "2"}), 0);
        CHECK(same_tensors(folder, scratch / "whole"));
        const std::string log = read_file(folder + "/log.jsonl");
        size_t epochs = 0;
        for (size_t at = 0; (at = log.find("\"type\":\"epoch\"", at)) != std::string::npos; ++at) ++epochs;
        CHECK(epochs == 2);
        CHECK(log.find("\"epoch\":1,\"step\":8,") != std::string::npos);
    }
}

TEST_CASE("signals: those of batch systems ask for a checkpoint; one that is ignored stays so", "[cli]") {
    for (const int signal : {SIGUSR1, SIGUSR2, SIGXCPU, SIGHUP}) {
        INFO("signal " << signal);
        const Scratch scratch;
        const std::string folder = scratch / "run";
        Child child(tiny_run(folder) + Words{"--epochs", "2000"});
        wait_for(child, [&] { return log_has(folder, "\"step\":4,"); });
        for (int i = 0; i < 5; ++i) child.kill(signal); // they never end it
        expect_ran(child.wait(), 75, "./fci train --resume");
        CHECK(fs::exists(checkpoint_in(folder)));
    }
    const Scratch scratch;
    const std::string folder = scratch / "run";
    Child child(tiny_run(folder) + Words{"--epochs", "100"}, [] { std::signal(SIGHUP, SIG_IGN); });
    wait_for(child, [&] { return log_has(folder, "\"step\":4,"); });
    child.kill(SIGHUP);
    expect_ran(child.wait(), 0);
}

TEST_CASE("signals: a third ends the program with 128 + its number", "[cli]") {
    const Scratch scratch;
    Child child({"train", "--task", "hotpotqa", "--sequences", "200000", "--out", scratch / "run"}); // data take long
    std::this_thread::sleep_for(300ms);
    for (int i = 0; i < 3; ++i) {
        child.kill(SIGINT);
        std::this_thread::sleep_for(30ms);
    }
    const Ran r = child.wait();
    CHECK(r.code == 130);
    CHECK(r.err == "stopping ...\n");
}

TEST_CASE("streams: unwritable or closed, they change no code and get into no file", "[cli]") {
    const Scratch scratch;
    const auto run_with = [&](const Words& words, const char* out, const char* err) { // null: closed
        return run(words, [=] {
            if (out) ::dup2(::open(out, O_WRONLY), 1);
            if (err) ::dup2(::open(err, O_WRONLY), 2);
            if (!out) ::close(1);
            if (!err) ::close(2);
            if (!out && !err) ::close(0);
        });
    };
    int runs = 0;
    const auto folder = [&] { return scratch / std::to_string(++runs); };
    for (const char* err : {"/dev/full", static_cast<const char*>(nullptr)}) {
        CHECK(run_with(tiny_run(folder()), "/dev/null", err).code == 0);
        CHECK(run_with(tiny_run(folder()) + Words{"--json"}, "/dev/null", err).code == 0); // progress on standard error
        CHECK(run_with({"train", "--nonsense"}, "/dev/null", err).code == 2);
    }
    for (const char* out : {"/dev/full", static_cast<const char*>(nullptr)}) {
        const std::string in = folder();
        expect_ran(run_with(tiny_run(in) + Words{"--json"}, out, "/dev/null"), 1); // its results are lost
        CHECK(fs::exists(checkpoint_in(in)));
    }
    const std::string in = folder();
    CHECK(run_with(tiny_run(in) + Words{"--json"}, nullptr, nullptr).code == 1);
    CHECK(read_file(in + "/log.jsonl").starts_with("{\"type\":\"step\",\"step\":1,"));
    CHECK(read_file(in + "/lock").empty());
    CHECK(SafetensorsFile(checkpoint_in(in)).metadata().at("step") == "24");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they take terabytes of address space
static std::function<void()> limited_to(rlim_t kilobytes) {
    return [=] {
        ::alarm(20); // a hang is an end by SIGALRM
        const rlimit limit{kilobytes << 10, kilobytes << 10};
        ::setrlimit(RLIMIT_AS, &limit);
    };
}

TEST_CASE("memory: at every limit on address space a command ends in time, with 0 or with what it lacked", "[cli]") {
    const Scratch scratch;
    expect_ran(run(tiny_run(scratch / "run")), 0);
    int refused = 0, n = 0;
    for (const rlim_t kilobytes : {80'000, 110'000, 140'000, 170'000, 200'000, 240'000, 300'000, 400'000})
        for (const Words& words :
             {tiny_run(scratch / std::to_string(++n)) + Words{"--threads", "2"},
              Words{"eval", checkpoint_in(scratch / "run"), "--json"},
              Words{"analyze", checkpoint_in(scratch / "run"), "--sequences", "4"}, // by LAPACK
              Words{"train", "--router", "linucb", "--sequences", "64", "--threads", "2"} + tiny_data()}) {
            const Ran r = run(words, limited_to(kilobytes));
            INFO(words[0] << " in " << kilobytes << " kB: exit code " << r.code << ", " << r.err);
            if (r.code == 127) continue; // the system's loader found no room for the libraries
            CHECK((r.code == 0 || r.code == 1));
            if (r.code == 0) continue;
            ++refused;
            CHECK((r.err.find("out of memory") != std::string::npos ||
                   r.err.find("cannot be started") != std::string::npos));
        }
    CHECK(refused > 4);
}
#endif

TEST_CASE("not finite: a checkpoint with NaN or Inf is refused with 5, whatever is asked of it", "[cli]") {
    const Scratch scratch;
    expect_ran(run(tiny_run(scratch / "run") + Words{"--stop-after", "2"}), 0);
    const std::string checkpoint = checkpoint_in(scratch / "run");
    for (const float x : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        for (const char* tensor : {"token.weight", "adamw.v/token.weight"}) {
            const std::string damaged = with_number(checkpoint, tensor, x, scratch / "damaged.safetensors");
            const std::string words = std::string(tensor) + " has a NaN or Inf";
            expect_refused(run({"eval", damaged, "--json"}), 5, words);
            expect_refused(run({"show", "--checkpoint", damaged}), 5, words);
            expect_refused(run({"analyze", damaged}), 5, words);
            fs::remove_all(scratch / "again");
            fs::copy(scratch / "run", scratch / "again");
            fs::copy(damaged, checkpoint_in(scratch / "again"), fs::copy_options::overwrite_existing);
            expect_refused(run({"train", "--resume", scratch / "again"}), 5, words);
        }
    // All numbers are finite, what the model makes of them is not.
    const std::string large = with_number(checkpoint, "router.wq.weight", 3e38f, scratch / "large.safetensors");
    expect_refused(run({"eval", with_number(large, "router.wk.weight", 3e38f, scratch / "both.safetensors"), "--json"}),
                   5, "NaN or Inf");
}

TEST_CASE("workers: as many as the control group's quota, rounded up, allows", "[threads]") {
    const Scratch scratch;
    const auto write = [&](const std::string& name, const std::string& text) {
        fs::create_directories(fs::path(scratch / name).parent_path());
        write_file_atomically(scratch / name, text);
    };
    const auto quota = [&](const std::string& groups) {
        write("proc", groups);
        return Workers::quota(scratch / "proc", scratch / "cg");
    };
    CHECK(quota("") == 0);
    CHECK(quota("0::/\n") == 0); // nothing is mounted
    write("cg/cpu.max", "150000 100000\n");
    CHECK(quota("0::/\n") == 2);               // a container's own group is the mount
    CHECK(quota("0::/docker/0123abc\n") == 2); // which it may know by the host's path
    write("cg/a/cpu.max", "max 100000\n");
    write("cg/a/b/cpu.max", "800000 100000\n");
    CHECK(quota("0::/a/b\n") == 2); // the least of all above
    write("cg/cpu.max", "max 100000\n");
    CHECK(quota("0::/a/b\n") == 8);
    CHECK(quota("0::/a\n") == 0);
    write("cg/a/b/cpu.max", "1000 100000\n");
    CHECK(quota("0::/a/b\n") == 1);
    write("cg/cpu/slurm/job/cpu.cfs_quota_us", "250000\n");
    write("cg/cpu/slurm/job/cpu.cfs_period_us", "100000\n");
    write("cg/cpu/cpu.cfs_quota_us", "-1\n");
    write("cg/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(quota("12:memory:/slurm\n4:cpu,cpuacct:/slurm/job\n1:name=systemd:/x\n") == 3);
    CHECK(quota("4:cpuset:/slurm/job\n") == 0);
    CHECK(quota("nonsense\n::\n") == 0);
    CHECK(Workers::available() >= 1);
}
