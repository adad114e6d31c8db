#include "train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>

#include "core/streams.h"

namespace fci {

namespace {

bool on_terminal(std::FILE* out) { // one that understands control sequences
    const char* term = std::getenv("TERM");
    return isatty(fileno(out)) && !(term && std::string(term) == "dumb");
}

} // namespace

bool use_colour(std::FILE* out) {
    const char* no = std::getenv("NO_COLOR"); // https://no-color.org: set and not empty
    return on_terminal(out) && !(no && *no);
}

int terminal_width(std::FILE* out, int otherwise) {
    winsize w{};
    return ioctl(fileno(out), TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : otherwise;
}

Progress::Progress(std::FILE* out, bool quiet)
    : out_(out), quiet_(quiet), terminal_(on_terminal(out)), colour_(use_colour(out)) {}

Progress Progress::part_of(std::FILE* out, bool quiet, std::string prefix) {
    Progress p(out, quiet);
    p.lines_ = false;
    p.prefix_ = std::move(prefix);
    return p;
}

bool Progress::due() const {
    return !quiet_ && terminal_ && std::chrono::steady_clock::now() - last_ >= std::chrono::milliseconds(100);
}

void Progress::status(const std::string& text) {
    if (!due()) return;
    last_ = std::chrono::steady_clock::now();
    const auto width = static_cast<size_t>(terminal_width(out_) - 1); // a full line would wrap
    put(out_, "\r\x1b[K" + (prefix_ + text).substr(0, width));
    drawn_ = true;
}

void Progress::line(const std::string& text) {
    if (quiet_ || !lines_) return;
    clear();
    put(out_, text + "\n");
}

std::string Progress::bold(const std::string& text) const { return colour_ ? "\x1b[1;32m" + text + "\x1b[0m" : text; }

void Progress::clear() {
    if (drawn_) put(out_, "\r\x1b[K");
    drawn_ = false;
}

std::string status_line(const std::vector<std::string>& parts) {
    const std::string line = fmt::format("{}", fmt::join(parts, "  "));
    return line.size() < 80 ? line : fmt::format("{}", fmt::join(parts, " "));
}

std::string short_count(double x) {
    if (x < 999.5) return fmt::format("{:.0f}", x);
    return x < 999.5e3 ? fmt::format("{:.3g}k", x / 1e3) : fmt::format("{:.3g}M", x / 1e6);
}

std::string duration(double seconds) {
    const auto s = static_cast<int64_t>(std::llround(seconds));
    if (s < 60) return fmt::format("{} s", s);
    if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
    return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

} // namespace fci
