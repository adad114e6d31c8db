// Standard input, output and error in every state: closed, on a full disk, a pipe that nobody reads.
#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace fci {

// Called first: opens the descriptors 0, 1 and 2 where they are closed, so that no file of ours becomes standard
// output. Writing to them still fails.
void hold_standard_streams();

// For progress and messages: what cannot be written is lost, and the program goes on.
void put(std::FILE* out, std::string_view text);

// For text from files and flags: control characters but line ends as \\xNN, for terminals obey them.
std::string printable(std::string_view);

// What to type for this program, in commands to copy: `fci` where it was found on the PATH, `./fci` else. main() tells
// by argv[0].
void called_as(const char* argv0);
const char* program_name();

template <class... Args>
void complain(fmt::format_string<Args...> format, Args&&... args) { // on standard error, printable
    put(stderr, printable(fmt::format(format, std::forward<Args>(args)...)));
}

} // namespace fci
