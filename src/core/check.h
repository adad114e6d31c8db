// Errors for people. Every failure is an fci::Error: what was wrong, where, what to do, and the exit
// code that the whole program documents. main() prints the message and returns the code.
#pragma once
#if defined(__CUDACC__)
#include <sstream>
#else
#include <fmt/format.h>
#endif

#include <stdexcept>
#include <string>
#include <utility>

namespace fci {

enum class Exit : int {
    ok = 0,
    internal = 1,    // a bug of ours, or I/O (disk full, folder not writable)
    usage = 2,       // a flag, key or value that cannot be used; a device that is not there
    bad_data = 3,    // a file (data, checkpoint) that is not what it should be
    differs = 4,     // a result differs from the recorded one
    non_finite = 5,  // NaN or Inf in a loss or a gradient
    interrupted = 75 // stopped by a signal after writing a checkpoint: resume with --resume
};

struct Error : std::runtime_error {
    Exit exit;
    Error(Exit code, const std::string& message) : std::runtime_error(message), exit(code) {}
};

#if defined(__CUDACC__) // nvcc cannot compile fmt 9: in CUDA files this replaces "{}", at run time
template <class... Args>
using Format = std::string;
template <class... Args>
[[noreturn]] void fail(Exit code, std::string text, const Args&... args) {
    [[maybe_unused]] const auto fill_in = [&](const auto& x) {
        std::ostringstream s;
        s << x;
        text.replace(text.find("{}"), 2, s.str());
    };
    (fill_in(args), ...);
    throw Error(code, text);
}
#else
template <class... Args>
using Format = fmt::format_string<Args...>;
template <class... Args>
[[noreturn]] void fail(Exit code, Format<Args...> format, Args&&... args) {
    throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}
#endif

// For conditions that only a bug in the program can violate: op shapes, call order. The message names the shapes:
// "selective_scan: B is (4,63,16), expected (4,64,16)".
template <class... Args>
void check(bool holds, Format<Args...> format, Args&&... args) {
    if (!holds) fail(Exit::internal, format, std::forward<Args>(args)...);
}

} // namespace fci
