// One option: its name, its values and its meaning. Tables of them stand beside the structs that they are bound to
// (tasks/dataset.h, model/options.h, train/options.h), and everything else that knows options reads a table: flags and
// help, TOML, JSON, results. A key has '_' inside and in TOML and records, '-' as a flag and in dataset.json; either is
// read.
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/check.h"

namespace fci {

using OptionValue = std::variant<std::monostate, bool, int64_t, double, std::string>; // as read; monostate: unreadable

struct Option {
    std::string key;  // top_k; the flag is --top-k
    std::string help; // one line
    std::variant<int*, int64_t*, double*, bool*, std::string*> value;
    std::vector<std::string> allowed = {}; // of a string; empty: anything
    double low = -1e300, high = 1e300;     // of a number
    enum Group { task, model, train, run } group = train;

    std::string flag() const;
    std::string text() const;            // the value as TOML and JSON write it
    std::string word() const;            // the same, a string without quotes
    const char* wants() const;           // "an integer", ...
    void copy(const Option& from) const; // the value of the same option of another table
    enum Fit { fits, other_type, too_large };
    Fit fit(const OptionValue&) const;     // by type alone
    void assign(const OptionValue&) const; // one that fits
};

std::string flag_of(const std::string& key); // --top-k of top_k

// The option of this name, written either way; null if there is none.
const Option* find_option(const std::vector<Option>&, const std::string& name);

// Sets it if type, range and word are right; else `code` and a message that begins with `at`, or `at_word` for a word
// that is not among the allowed ones.
void set(const Option&, const OptionValue&, const std::string& at, const std::string& at_word, Exit code);

// Sets it from a word of the command line; Exit::usage.
void set_from_text(const Option&, const std::string& text);

// The same checks for a value that was set otherwise: a word that is not allowed, a number out of range.
void check_values(const std::vector<Option>&);

// Builds a table.
struct OptionTable {
    Option::Group group;
    std::vector<Option> all = {};

    void any(const char* key, auto* value, const char* help) { all.push_back({key, help, value, {}, 0, 0, group}); }
    void word(const char* key, std::string* value, std::vector<std::string> allowed, const char* help) {
        all.push_back({key, help, value, std::move(allowed), 0, 0, group});
    }
    void number(const char* key, auto* value, double low, double high, const char* help) {
        all.push_back({key, help, value, {}, low, high, group});
    }
    void append(std::vector<Option> more) { all.insert(all.end(), more.begin(), more.end()); }
};

constexpr double no_limit = 1e300, most_of_int = 2147483647, largest_size = 1 << 20;

} // namespace fci
