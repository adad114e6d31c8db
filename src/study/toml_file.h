// The TOML files of a study: rows, scales, readings, the registration. Messages name the file and the line.
#pragma once
#include <algorithm>

#include "core/check.h"
#include "core/streams.h"
#include "study/readings.h"
#include "train/options_toml.h"

namespace fci {

struct TomlFile {
    std::string file;

    template <class... Args>
    [[noreturn]] void refuse(const toml::node& at, fmt::format_string<Args...> format, Args&&... args) const {
        fail(Exit::usage, "{}:{}: {}", file, at.source().begin.line, fmt::format(format, std::forward<Args>(args)...));
    }

    std::string text(const std::string& key, const toml::node& node) const {
        if (!node.is_string()) refuse(node, "{}: expected a string, in quotes", key);
        std::string word = node.value<std::string>().value();
        if (printable(word) != word)
            refuse(node, "{}: a control character in the string: names and notes are shown on terminals", key);
        return word;
    }

    const toml::array& array(const std::string& key, const toml::node& node) const {
        if (!node.is_array()) refuse(node, "{}: expected an array, in [ ]", key);
        return *node.as_array();
    }

    const toml::table& sub_table(const std::string& key, const toml::node& node) const {
        if (!node.is_table()) refuse(node, "{}: expected a table", key);
        return *node.as_table();
    }

    // Sets one option and returns its value as a word. `others`: further keys to suggest for a mistyped one; fresh:
    // refuse an option that is already set.
    std::string set(Settings& s, const std::string& key, const toml::node& node, const std::vector<std::string>& others,
                    bool fresh = true) const {
        for (const Option& o : table(s.values)) {
            if (o.key != key) continue;
            if (key == "data" || key == "test_data") // a path says nothing about what is in it
                refuse(node, "{}: rows generate their data; only fci train --data reads a folder", key);
            if (key == "init_from") refuse(node, "{}: rows start from their seed; see fci train --init-from", key);
            if (o.group == Option::run || key == "seed")
                refuse(node, "{}: a row cannot set this; use a flag of the command: see fci sweep --help", key);
        }
        const std::vector<Option> all = table(s.values);
        const Option option = set_from_toml(all, key, node, file, Exit::usage, others);
        if (fresh && std::count(s.keys.begin(), s.keys.end(), option.key)) refuse_twice(option, node, file);
        s.keys.push_back(option.key);
        return option.word();
    }
};

} // namespace fci
