#include "study/readings.h"

#include <filesystem>
#include <set>

#include "core/files.h"
#include "core/nearest.h"
#include "study/toml_file.h"

namespace fci {
namespace {

using Values = std::vector<std::pair<std::string, const toml::node*>>; // one reading's options and values

struct Joint : TomlFile {
    // The options in braces, in the order of the name.
    std::vector<std::string> in_braces(const toml::node& at, const std::string& name) const {
        std::vector<std::string> keys;
        for (size_t begin = 0; (begin = name.find('{', begin)) != std::string::npos;) {
            const size_t end = name.find('}', begin);
            if (end == std::string::npos) refuse(at, "name = \"{}\": a {{ without }}", name);
            keys.push_back(name.substr(begin + 1, end - begin - 1));
            begin = end;
        }
        return keys;
    }

    Reading one(const toml::table& t, const std::string& pattern, const std::string& set_name,
                const Values& values) const {
        Reading r;
        r.name = pattern, r.set = set_name, r.file = file, r.line = static_cast<int>(t.source().begin.line);
        for (const auto& [key, node] : values) {
            const std::string value = set(r.settings, key, *node, {"name", "set"}), braces = "{" + key + "}";
            for (size_t at; (at = r.name.find(braces)) != std::string::npos;) r.name.replace(at, braces.size(), value);
        }
        r.word = r.name;
        return r;
    }

    std::vector<Reading> product(const toml::table& t) const {
        const toml::node *name = t.get("name"), *set_node = t.get("set");
        if (!name) refuse(t, "a [[joint]] needs a name");
        const std::string pattern = text("name", *name), set_name = set_node ? text("set", *set_node) : "";
        for (const std::string& word : {pattern, set_name})
            if (word.find_first_of("@:/ \t\n") != std::string::npos || word.ends_with(".toml"))
                refuse(t, "\"{}\": a reading's name must not have '@', ':', '/', a space or .toml", word);
        const std::vector<std::string> varied = in_braces(*name, pattern);
        std::vector<std::pair<std::string, std::vector<const toml::node*>>> options;
        const auto add = [&](const std::string& key, const toml::node& node) {
            std::vector<const toml::node*> values{&node};
            if (node.is_array()) {
                values.clear();
                for (const toml::node& value : *node.as_array()) values.push_back(&value);
                if (values.empty()) refuse(node, "{}: expected at least one value", key);
                if (values.size() > 1 && std::find(varied.begin(), varied.end(), key) == varied.end())
                    refuse(node, "{}: several values would have the same name: put {{{}}} into the name", key, key);
            }
            options.emplace_back(key, values);
        };
        for (const std::string& key : varied) { // in the name's order, which is also the readings' order
            const toml::node* node = t.get(key);
            if (!node || key == "name" || key == "set")
                refuse(*name, "name = \"{}\": this reading does not set {}", pattern, key);
            add(key, *node);
        }
        for (const auto& [key, node] : t)
            if (const std::string k(key.str());
                k != "name" && k != "set" && std::find(varied.begin(), varied.end(), k) == varied.end())
                add(k, node);
        if (options.empty()) refuse(t, "the reading {} sets no option, so it would change nothing", pattern);

        std::vector<Reading> all;
        size_t total = 1;
        for (const auto& [key, values] : options) total *= values.size();
        for (size_t n = 0; n < total; ++n) {
            Values values;
            for (size_t i = options.size(), left = n; i-- > 0; left /= options[i].second.size())
                values.emplace_back(options[i].first, options[i].second[left % options[i].second.size()]);
            all.push_back(one(t, pattern, set_name, values));
        }
        return all;
    }
};

} // namespace

bool Settings::has(const std::string& key) const { return std::find(keys.begin(), keys.end(), key) != keys.end(); }

void Settings::apply(Options& to) const {
    Options from = values;
    const std::vector<Option> source = table(from), target = table(to);
    for (size_t i = 0; i < source.size(); ++i)
        if (has(source[i].key)) target[i].copy(source[i]);
}

std::string Settings::text(const std::string& key) const {
    Options o = values;
    const std::vector<Option> all = table(o);
    const Option* option = find_option(all, key);
    return option ? option->word() : "";
}

Settings Reading::of_task(const TaskOptions& task) const {
    Settings s = settings;
    TaskOptions of = task;
    if (s.has("task")) of.task = s.values.task.task;
    for (const auto& [idle, owner] : idle_options(of)) std::erase(s.keys, idle);
    return s;
}

std::vector<Reading> read_joint(const std::string& toml, const std::string& file) {
    const Joint reader{{file}};
    const toml::table doc = parse_toml(toml, file);
    std::vector<Reading> all;
    if (const toml::node* node = doc.get("joint"))
        for (const toml::node& entry : reader.array("[[joint]]", *node)) {
            const toml::table& t = reader.sub_table("joint", entry);
            for (Reading& r : reader.product(t)) {
                for (const Reading& other : all)
                    if (r.name == other.name || r.name == other.set || r.set == other.name)
                        reader.refuse(t, "two readings have the name {}", r.set == other.name ? r.set : r.name);
                all.push_back(std::move(r));
            }
        }
    return all;
}

std::vector<Reading> select_readings(const std::vector<Reading>& known, const std::vector<std::string>& words) {
    std::vector<Reading> chosen;
    std::set<std::string> seen;
    for (const std::string& word : words) {
        if (word.empty()) fail(Exit::usage, "--reading '': expected a name");
        const size_t toml = word.find(".toml");
        const std::string file = toml == std::string::npos ? "" : word.substr(0, toml + 5);
        std::string name = file.empty() ? word : word.substr(file.size());
        std::vector<Reading> own;
        if (!file.empty()) {
            if (!name.empty() && name[0] != ':')
                fail(Exit::usage, "--reading {}: expected FILE.toml or FILE.toml:NAME", word);
            name.erase(0, 1);
            own = read_joint(read_file(file), file);
            if (own.empty()) fail(Exit::usage, "--reading {}: there is no [[joint]] in {}", word, file);
            for (Reading& r : own) r.word = file + ":" + r.name;
        }
        std::vector<std::string> names;
        bool found = false;
        for (const Reading& r : file.empty() ? known : own) {
            names.push_back(r.name);
            if (!r.set.empty()) names.push_back(r.set);
            if (name != r.name && name != r.set && !(name.empty() && !file.empty())) continue;
            found = true;
            if (seen.insert(r.word).second) chosen.push_back(r);
        }
        if (!found)
            fail(Exit::usage, "--reading {}: no such reading{} (runs/readings.toml has them)", word,
                 did_you_mean(name, names));
    }
    return chosen;
}

} // namespace fci
