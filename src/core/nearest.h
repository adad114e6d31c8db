// nearest: the candidate that a mistyped word most likely meant, for error messages.
//   d(a,b) = fewest insertions, deletions, substitutions and swaps of neighbours that turn a into b
//            (optimal string alignment), O(|a| |b|)
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"

namespace fci {

inline int edit_distance(std::string_view a, std::string_view b) {
    std::vector<int> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
    for (size_t i = 1; i <= a.size(); ++i) {
        now[0] = static_cast<int>(i);
        for (size_t j = 1; j <= b.size(); ++j) {
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = std::min(now[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, now);
    }
    return last[b.size()];
}

// "--lr" of "--learning-rate", "--rep" of "--representation"
inline bool abbreviates(std::string_view word, std::string_view whole) {
    const auto bare = [](std::string_view s) { return s.substr(std::min(s.find_first_not_of('-'), s.size())); };
    word = bare(word), whole = bare(whole);
    if (word.size() > 2 && whole.starts_with(word)) return true;
    std::string initials;
    for (size_t i = 0; i < whole.size(); ++i)
        if (i == 0 || whole[i - 1] == '-' || whole[i - 1] == '_') initials += whole[i];
    return word.size() > 1 && word == initials;
}

// The first candidate that the word abbreviates, else the closest one; "" if even that is further than a third of the
// word's letters plus one.
inline std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
    for (const std::string& c : candidates)
        if (abbreviates(word, c)) return c;
    int best = static_cast<int>(word.size()) / 3 + 2;
    std::string found;
    for (const std::string& c : candidates)
        if (const int d = edit_distance(word, c); d < best) best = d, found = c;
    return found;
}

// "; did you mean 'far'?", or nothing: for the end of a message.
inline std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    const std::string found = nearest(word, candidates);
    return found.empty() ? "" : "; did you mean '" + found + "'?";
}

// Exit `code` unless the word is one of them: "--task derr: must be one of der, mqar; did you mean 'der'?"
inline void expect_one_of(const std::string& where, const std::string& word, const std::vector<std::string>& allowed,
                          Exit code = Exit::usage) {
    if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) return;
    fail(code, "{} {}: must be one of {}{}", where, word, fmt::join(allowed, ", "), did_you_mean(word, allowed));
}

// The entry of this name in a list of pointers; the same errors.
template <class Kinds>
auto find_kind(const std::string& where, const std::string& name, const Kinds& all, Exit code = Exit::usage)
    -> decltype(*all[0]) {
    std::vector<std::string> names;
    for (const auto* kind : all)
        if (names.emplace_back(kind->name) == name) return *kind;
    expect_one_of(where, name, names, code);
    fail(Exit::internal, "{} {}: not found", where, name);
}

} // namespace fci
