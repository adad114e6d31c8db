// The built program as a child process: started with arguments, killed at any time, its output caught. FCI_BIN names
// it.
#pragma once
#include <fcntl.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/scratch.h"

namespace fci {

using Words = std::vector<std::string>;

inline Words operator+(Words a, const Words& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline std::string program() {
    const char* given = std::getenv("FCI_BIN");
    const std::string path = given && *given ? given : "./fci";
    if (::access(path.c_str(), X_OK) != 0)
        FAIL(path << " is not there: these tests run the program. Build it (make fci), or set FCI_BIN");
    return path;
}

struct Ran {
    int code = -1; // 128 + N after signal N
    std::string out, err;
};

class Child {
public:
    // in_child: called in the child before the program starts, e.g. to set limits. to: a file for standard output
    // instead of catching it. path: of another program.
    explicit Child(const Words& words, const std::function<void()>& in_child = {}, const std::string& to = "",
                   const std::string& path = program()) {
        Words all = Words{path} + words;
        std::vector<char*> argv;
        for (std::string& w : all) argv.push_back(w.data());
        argv.push_back(nullptr);
        const std::string out = to.empty() ? files_ / "out" : to, err = files_ / "err";
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ != 0) return;
        ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
        ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
        std::signal(SIGHUP, SIG_DFL); // the tests may run under nohup, which ignores it
        if (in_child) in_child();
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    ~Child() {
        if (running()) kill(SIGKILL), wait();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void kill(int signal) {
        if (running()) ::kill(pid_, signal);
    }
    bool running() { return !ended_ && !reap(WNOHANG); }
    Ran wait() {
        if (!ended_) reap(0);
        return {WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_), text("out"), text("err")};
    }

private:
    bool reap(int how) {
        pid_t done;
        do done = ::waitpid(pid_, &status_, how);
        while (done < 0 && errno == EINTR);
        return ended_ = done != 0;
    }
    std::string text(const char* name) const {
        std::ifstream in(files_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    Scratch files_;
    pid_t pid_ = -1;
    int status_ = 0;
    bool ended_ = false;
};

inline Ran run(const Words& words, const std::function<void()>& in_child = {}, const std::string& to = "") {
    return Child(words, in_child, to).wait();
}

// The same in `folder`: relative names and runs/out are there, not in the checkout, which other builds' tests share.
inline Ran run_in(const std::string& folder, const Words& words) {
    const auto in_child = [&] {
        if (::chdir(folder.c_str()) != 0) ::_exit(126);
    };
    return Child(words, in_child, "", std::filesystem::absolute(program()).string()).wait();
}

inline void expect_ran(const Ran& r, int code, const std::string& part = "") {
    INFO("exit code " << r.code << ", expected " << code << " and: " << part << "\nout: " << r.out
                      << "\nerr: " << r.err);
    REQUIRE(r.code == code);
    REQUIRE((r.out + r.err).find(part) != std::string::npos);
}

// Expects an error message: this exit code, these words, one line, and nothing on standard output.
inline void expect_refused(const Ran& r, int code, const std::string& part) {
    expect_ran(r, code, part);
    INFO("err: " << r.err);
    CHECK(r.err.starts_with("fci: "));
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(r.out.empty());
}

// A run of 3 epochs of 8 steps that takes a few hundredths of a second.
inline Words tiny_data() { return {"--task", "mqar", "--length", "32", "--pairs", "4", "--vocab", "16"}; }
inline Words tiny_model() {
    return {"--d-model",     "16",      "--heads", "2",         "--top-k", "2", "--representation",
            "transformer:1", "--batch", "8",       "--threads", "1"};
}
inline Words tiny_run(const std::string& out) {
    return Words{"train"} + tiny_data() + tiny_model() + Words{"--sequences", "64", "--test-sequences", "32",
                                                               "--epochs",    "3",  "--learning-rate",  "1e-2",
                                                               "--out",       out};
}

inline std::string checkpoint_in(const std::string& folder) { return folder + "/checkpoint.safetensors"; }

// Compares parameters and moments bit for bit: the first difference between two runs, "" if there is none. The metadata
// may differ: it counts the bytes of a log that contains times.
inline std::string difference(const std::string& folder, const std::string& other) {
    const SafetensorsFile a(checkpoint_in(folder)), b(checkpoint_in(other));
    const std::string &step = a.metadata().at("step"), &other_step = b.metadata().at("step");
    if (step != other_step) return fmt::format("step {} and {}", step, other_step);
    if (a.tensors().size() != b.tensors().size())
        return fmt::format("{} tensors and {}", a.tensors().size(), b.tensors().size());
    for (const StoredTensor& t : a.tensors()) {
        const StoredTensor* o = b.find(t.name);
        if (!o || o->shape != t.shape) return t.name + " is not in both, or has two shapes";
        const auto *x = static_cast<const float*>(t.data), *y = static_cast<const float*>(o->data);
        for (size_t i = 0; i < t.bytes / sizeof(float); ++i)
            if (std::memcmp(x + i, y + i, sizeof(float)) != 0)
                return fmt::format("{}: number {} is {} and {}", t.name, i, x[i], y[i]);
    }
    return "";
}
inline bool same_tensors(const std::string& folder, const std::string& other) {
    const std::string where = difference(folder, other);
    if (!where.empty()) UNSCOPED_INFO(folder << " and " << other << ": " << where);
    return where.empty();
}

} // namespace fci
