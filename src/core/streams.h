// Standard input, output and error, as they may be: closed, on a full disk, a pipe that nobody reads.
#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace fci {

// First of all: takes the descriptors 0, 1 and 2 where they are closed, so that no file of ours becomes standard
// output. What is written there fails, as it did.
void hold_standard_streams();

// For progress and messages: what cannot be written is lost, and that ends nothing.
void put(std::FILE* out, std::string_view text);

// For text from files and flags: control characters but line ends as \\xNN, for terminals obey them.
std::string printable(std::string_view);

template <class... Args>
void complain(fmt::format_string<Args...> format, Args&&... args) { // on standard error
    put(stderr, fmt::format(format, std::forward<Args>(args)...));
}

} // namespace fci
