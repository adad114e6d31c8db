// Progress for people: on a terminal one status line, redrawn in place, under which finished lines scroll; elsewhere
// finished lines only. Colour only on a terminal, and never under NO_COLOR.
#pragma once
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace fci {

class Progress {
public:
    // quiet: prints nothing. Lines go to `out`.
    explicit Progress(std::FILE* out, bool quiet = false);
    // One of many that share a terminal: prints only its status line, prefixed.
    static Progress part_of(std::FILE* out, bool quiet, std::string prefix);
    ~Progress() { clear(); }

    bool terminal() const { return terminal_; }
    void status(const std::string& text); // at most ten times a second
    void line(const std::string& text);
    std::string bold(const std::string& text) const;
    bool due() const; // whether status() would draw now; saves formatting
    void clear();     // takes the status line away, before something else writes to the terminal

private:
    std::FILE* out_;
    bool quiet_, terminal_, colour_, lines_ = true, drawn_ = false;
    std::string prefix_;
    std::chrono::steady_clock::time_point last_{};
};

bool use_colour(std::FILE* out); // a terminal, and NO_COLOR is not set
int terminal_width(std::FILE* out, int otherwise = 100);

// The parts, two spaces apart, or one where that is more than a line of 79.
std::string status_line(const std::vector<std::string>& parts);
std::string short_count(double x);    // "940", "14.1k", "2.3M"
std::string duration(double seconds); // "48 s", "3 min 20 s", "2 h 05 min"

} // namespace fci
