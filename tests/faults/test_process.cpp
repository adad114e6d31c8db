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

// Epochs of 8 steps, each with an evaluation that takes a hundred times as long.
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
        const auto stopped = [&] {
            fs::remove_all(folder);
            Child child(slow_test(folder) + Words{"--stop-after", "2"});
            wait_for(child, [&] { return log_has(folder, "\"step\":8,"); });
            child.kill(first);
            std::this_thread::sleep_for(20ms);
            child.kill(second);
            return child.wait();
        };
        Ran r = stopped();
        for (int i = 0; log_has(folder, "\"type\":\"epoch\"") && i < 9; ++i)
            r = stopped(); // it ended before our signal
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
        for (int i = 0; i < 5; ++i) child.kill(signal); // even repeated signals do not kill it
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
    const std::string folder = scratch / "run";
    const auto stopped = [&](int attempt) {
        fs::remove_all(folder);
        Child child({"train", "--task", "hotpotqa", "--sequences", "3200", "--out", folder}); // a step takes a second
        wait_for(child, [&] { return fs::exists(folder); });
        std::this_thread::sleep_for(30ms * attempt);
        for (int i = 0; i < 100 && child.running(); ++i) { // on a busy machine two signals may merge
            child.kill(SIGINT);
            std::this_thread::sleep_for(10ms);
        }
        return child.wait();
    };
    Ran r = stopped(0);
    for (int attempt = 1; r.code == 75 && attempt < 10; ++attempt) r = stopped(attempt); // it stopped before the third
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
        ::alarm(20); // a hang ends by SIGALRM
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
              Words{"analyze", checkpoint_in(scratch / "run"), "--sequences", "4"}, // uses LAPACK
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
    // All numbers are finite, but the model's results are not.
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
    CHECK(quota("0::/\n") == 0); // no control group is mounted
    write("cg/cpu.max", "150000 100000\n");
    CHECK(quota("0::/\n") == 2);               // a container's own group is the mounted one
    CHECK(quota("0::/docker/0123abc\n") == 2); // the container may see it under the host's path
    write("cg/a/cpu.max", "max 100000\n");
    write("cg/a/b/cpu.max", "800000 100000\n");
    CHECK(quota("0::/a/b\n") == 2); // the lowest limit of all parents counts
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

TEST_CASE("paths: odd names are kept, refused with the reason, or read again", "[cli]") {
    const Scratch scratch;
    const std::string odd = scratch / "d\x7f e\"ta \\ ?";
    expect_ran(run(Words{"generate", "--sequences", "64", "--out", odd} + tiny_data()), 0);
    const Words rest = Words{"--epochs", "1"} + tiny_model();
    expect_ran(run(Words{"train", "--data", odd, "--out", scratch / "run"} + rest), 0);
    expect_ran(run({"eval", checkpoint_in(scratch / "run")}), 0, "accuracy");
    expect_ran(run({"train", "--resume", scratch / "run", "--quiet"}), 0);
    const std::string latin = scratch / "d\xe4ta";
    fs::rename(odd, latin);
    expect_refused(run(Words{"train", "--data", latin, "--out", scratch / "no"} + rest), 2,
                   "the name is not UTF-8, so config.toml cannot hold it");
    CHECK_FALSE(fs::exists(scratch / "no"));
    expect_ran(run({"eval", checkpoint_in(scratch / "run"), "--data", latin}), 0, "accuracy");

    REQUIRE(::mkfifo((scratch / "pipe").c_str(), 0600) == 0); // opening it would block
    for (const Words& words : {Words{"eval", scratch / "pipe"}, Words{"train", "--config", scratch / "pipe"},
                               Words{"eval", "--task", "hotpotqa", "--data", scratch / "pipe"}})
        expect_refused(run(words), 3, "pipe: cannot be read: it is not a file but a folder, a pipe or a device");
    const std::string long_name(5000, 'x');
    expect_refused(run({"train", "--resume", long_name}), 1, ": File name too long; check its name");
}

TEST_CASE("paths: a folder that may not be looked into is named, and the remedy", "[cli]") {
    const Scratch scratch;
    fs::create_directories(scratch / "closed/results");
    fs::permissions(scratch / "closed", fs::perms::none);
    const Ran r = run({"table", "--results", scratch / "closed/results"}, [] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(126);
    });
    fs::permissions(scratch / "closed", fs::perms::owner_all);
    expect_refused(r, 1, "closed/results");
    CHECK_THAT(r.err, Catch::Matchers::Contains("Permission denied; check"));
    CHECK(r.err.find("filesystem error") == std::string::npos);
}

TEST_CASE("paths: a run killed before its config.toml leaves a folder that --out takes again", "[cli]") {
    const Scratch scratch;
    const std::string folder = scratch / "run";
    fs::create_directory(folder);
    std::ofstream(folder + "/lock");
    std::ofstream(folder + "/config.toml.tmp-999999999-1") << "torn";
    expect_ran(run(tiny_run(folder) + Words{"--stop-after", "1"}), 0);
    CHECK_FALSE(fs::exists(folder + "/config.toml.tmp-999999999-1"));
    expect_refused(run(tiny_run(folder)), 2, "already exists: choose another --out");
}

TEST_CASE("paths: a file that is cut while it is read is an error, not a death by signal", "[cli][hotpot]") {
    const Scratch scratch;
    const std::string path = scratch / "big.json";
    expect_ran(run({"generate", "--task", "hotpotqa", "--sequences", "10000", "--out", path}), 0);
    const auto size = fs::file_size(path);
    bool cut_in_time = false;
    for (int wait = 1; wait < 8000 && !cut_in_time; wait += wait / 5 + 1) { // a busy machine begins late
        const std::string copy = scratch / "copy.json";
        fs::copy(path, copy, fs::copy_options::overwrite_existing);
        Child child({"eval", "--task", "hotpotqa", "--data", copy, "--threads", "1", "--quiet"});
        std::this_thread::sleep_for(wait * 1ms);
        REQUIRE(::truncate(copy.c_str(), static_cast<off_t>(size / 50)) == 0);
        const Ran r = child.wait();
        REQUIRE((r.code == 0 || r.code == 3));
        cut_in_time =
            r.err.find("copy.json: another program truncated it while it was being read") != std::string::npos;
        CHECK((!cut_in_time || r.code == 3));
    }
    CHECK(cut_in_time);
}

TEST_CASE("flags: a switch with a value that is none; a quiet run says where it is", "[cli]") {
    expect_refused(run({"train", "--quiet=banana"}), 2, "--quiet: banana: expected true, false or nothing");
    expect_refused(run({"eval", "x", "--json=99999999999999999999"}), 2,
                   "--json: 99999999999999999999: expected true, false or nothing");
    const Scratch scratch;
    Words words = tiny_run("x") + Words{"--quiet"};
    words.erase(std::find(words.begin(), words.end(), "--out"), std::find(words.begin(), words.end(), "--quiet"));
    const Ran r = run_in(scratch.path, words);
    expect_ran(r, 0);
    CHECK(r.out == "runs/out/mqar-transformer-1-001\n");
    CHECK(fs::exists(checkpoint_in(scratch / "runs/out/mqar-transformer-1-001")));
}

TEST_CASE("train: says what an epoch leaves out, and that a loss ends above its start", "[cli]") {
    const Scratch scratch;
    const Ran astray = run(Words{"train"} + tiny_data() + tiny_model() +
                           Words{"--sequences", "71", "--test-sequences", "32", "--epochs", "3", "--learning-rate", "1",
                                 "--out", scratch / "run"});
    CHECK(astray.code == 0);
    CHECK(astray.out.find("3 epochs of 8 steps") != std::string::npos);
    CHECK(astray.out.find("each epoch leaves out 7 of them") != std::string::npos);
    CHECK(astray.err.find("above the") != std::string::npos);
    CHECK(run(tiny_run(scratch / "other")).err == "");
    // An index makes no steps: any number of sequences is allowed.
    const Ran index = run({"train", "--router", "bloom", "--sequences", "3", "--test-sequences", "8", "--quiet"});
    CHECK(index.code == 0);
}
