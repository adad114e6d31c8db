// For tests of files and errors: a temporary folder, the error that a call throws, and limits set in a child process.
#pragma once
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "core/check.h"
#include "tests/catch.h"

namespace fci {

struct Scratch {
    std::string path;
    Scratch() {
        path = (std::filesystem::temp_directory_path() / "fci-test-XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
        ::chmod(path.c_str(), 0755);
    }
    ~Scratch() { std::filesystem::remove_all(path); }
    std::string operator/(const std::string& name) const { return path + "/" + name; }
    std::set<std::string> names() const {
        std::set<std::string> s;
        for (const auto& entry : std::filesystem::directory_iterator(path)) s.insert(entry.path().filename().string());
        return s;
    }
};

// The error that `act` throws, as "EXIT: message"; "" if it throws none.
inline std::string error_of(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& e) {
        return fmt::format("{}: {}", static_cast<int>(e.exit), e.what());
    }
    return "";
}

// The same in a child process, for limits that a process cannot remove again.
inline std::string error_in_child(const std::function<void()>& act) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const std::string error = error_of(act);
        ::_exit(::write(ends[1], error.data(), error.size()) == static_cast<ssize_t>(error.size()) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string error(4096, '\0');
    error.resize(static_cast<size_t>(std::max<ssize_t>(0, ::read(ends[0], error.data(), error.size()))));
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    return error;
}

inline void limit_file_size(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN); // write(2) then fails with EFBIG, as it does with ENOSPC on a full disk
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
}

inline void expect_error(const std::string& error, Exit exit, const std::string& part) {
    INFO("error: " << error << "\nexpected: " << part);
    REQUIRE(error.starts_with(fmt::format("{}: ", static_cast<int>(exit))));
    REQUIRE(error.find(part) != std::string::npos);
}

} // namespace fci
