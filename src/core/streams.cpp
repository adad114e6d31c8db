#include "core/streams.h"

#include <fcntl.h>

#include <cstring>

namespace fci {

void hold_standard_streams() {
    for (int fd = 0; fd < 3; ++fd) // the lowest that is free is what open() returns
        if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) return;
}

static const char* to_type = "./fci"; // no allocation: main() calls this before it can report that one failed

void called_as(const char* argv0) {
    if (argv0 && *argv0 && !std::strchr(argv0, '/')) to_type = argv0;
}

const char* program_name() { return to_type; }

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto code = static_cast<unsigned char>(c);
        if ((code < 0x20 && c != '\n') || code == 0x7F)
            out += fmt::format("\\x{:02x}", code);
        else
            out += c;
    }
    return out;
}

void put(std::FILE* out, std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), out);
    std::fflush(out);
}

} // namespace fci
