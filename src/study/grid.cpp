#include "study/grid.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/files.h"
#include "core/json.h"
#include "study/plan.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

// The values of a comma-separated list.
std::vector<std::string> values_in(const std::string& word) {
    std::vector<std::string> values{""};
    for (size_t i = 0; i < word.size(); ++i) {
        if (word[i] == '\\' && i + 1 < word.size() && word[i + 1] == ',')
            values.back() += word[++i];
        else if (word[i] == ',')
            values.emplace_back();
        else
            values.back() += word[i];
    }
    return values;
}

void expect_name(const Study& study, const std::string& name) {
    const auto allowed = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._-", c); };
    if (name.empty() || name[0] == '.' || name[0] == '-' || name.ends_with(".toml") ||
        !std::all_of(name.begin(), name.end(), allowed))
        fail(Exit::usage,
             "--name '{}': expected letters, digits, '.', '_' or '-', no '.' or '-' first, no .toml at the end", name);
    const auto is_it = [&](const Row& r) { return name == r.id || name == r.group; };
    if (name == "all" || name == "order" || std::any_of(study.rows.begin(), study.rows.end(), is_it) ||
        std::any_of(study.variants.begin(), study.variants.end(), is_it))
        fail(Exit::usage, "--name {}: rows of the paper have this name; choose another", name);
}

} // namespace

void keep_grid(const Study& study, const Scale& scale, const std::string& name, const Given& given, int64_t seeds) {
    expect_name(study, name);
    const std::string head = "# Made by fci sweep --name " + name + "\n[[row]]\nid = " + json_quote(name) + "\n";
    std::string text;
    std::set<std::string> keys;
    for (const auto& [key, word] : given) {
        Options o;
        const std::vector<Option> all = table(o);
        const Option& option = *find_option(all, key);
        if (!keys.insert(key).second) fail(Exit::usage, "{} {}: the flag is given twice", option.flag(), word);
        std::vector<std::string> values;
        for (const std::string& value : values_in(word)) {
            if (value.empty())
                fail(Exit::usage, "{} {}: a value is missing before or after a comma", option.flag(), word);
            set_from_text(option, value);
            values.push_back(option.text());
            if (std::count(values.begin(), values.end(), values.back()) > 1)
                fail(Exit::usage, "{} {}: {} is given twice", option.flag(), word, value);
        }
        text += key + " = " + (values.size() == 1 ? values[0] : fmt::format("[{}]", fmt::join(values, ", "))) + "\n";
    }
    const std::string file = grid_file(name);
    const std::string counted = seeds ? fmt::format("seeds = {}\n", seeds) : "";
    if (fs::exists(file)) {
        const std::string there = read_file(file), at = "\nseeds = ";
        const size_t line = there.find(at) + 1, rest = line ? there.find('\n', line) + 1 : 0;
        if ((line ? there.substr(0, line) + there.substr(rest) : there) != head + text)
            fail(Exit::usage, "--name {}: {} holds another grid; choose another name, or remove that file", name, file);
        if (seeds) write_file_atomically(file, head + counted + text);
        return;
    }
    plan(read_rows(head + counted + text, "--name " + name, {}),
         scale); // errors in rows show before anything is stored
    fs::create_directories(fs::path(file).parent_path());
    write_file_atomically(file, head + counted + text);
}

std::vector<std::string> varied_keys(const std::vector<Row>& rows) {
    std::vector<std::string> keys;
    for (const Row& r : rows)
        for (const std::string& key : r.settings.keys) {
            const bool differs = (key == "learning_rate" && r.learning_rates.size() > 1) ||
                                 std::any_of(rows.begin(), rows.end(), [&](const Row& other) {
                                     return other.settings.text(key) != r.settings.text(key);
                                 });
            if (differs && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
        }
    return keys;
}

} // namespace fci
