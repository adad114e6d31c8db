#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <string_view>
#include <tuple>

#include "core/check.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_read.h"
#include "core/nearest.h"
#include "tasks/npy.h"
#include "tasks/task.h"

namespace fci {

namespace {

namespace fs = std::filesystem;

constexpr const char* json_format = "fci dataset 1";
constexpr int64_t largest_vocab = 1 << 20;

void expect_range(const std::string& path, const NpyArray& a, int64_t limit, const char* limit_name) {
    for (size_t i = 0; i < a.x.size(); ++i)
        if (a.x[i] < 0 || a.x[i] >= limit)
            fail(Exit::bad_data, "{}: row {}, column {}: {} is not in [0,{}), the {}", path, i / a.columns,
                 i % a.columns, a.x[i], limit, limit_name);
}

struct Description {
    int64_t vocab = -1, count = -1, length = -1, queries = -1;
};

// Reads one value of a JSON object into `x`, strictly by type.
template <class T>
void read_json(const std::string& path, std::string_view key, simdjson::dom::element value, T& x, const char* type) {
    if (value.get(x)) fail(Exit::bad_data, "{}: \"{}\" is not {}", path, key, type);
}

void refuse_twice(const std::string& path, std::set<std::string>& seen, std::string_view key) {
    if (!seen.insert(std::string(key)).second) fail(Exit::bad_data, "{}: \"{}\" appears twice", path, key);
}

TaskOptions read_options(const std::string& path, simdjson::dom::object object) {
    TaskOptions o;
    const std::vector<Option> all = option_table(o);
    std::set<std::string> seen;
    std::vector<std::string> names;
    for (const Option& option : all) names.push_back(option.flag().substr(2));
    for (const auto [key, value] : object) {
        const std::string name(key);
        refuse_twice(path, seen, name);
        const Option* option = find_option(all, name);
        if (!option) fail(Exit::bad_data, "{}: unknown option \"{}\"{}", path, name, did_you_mean(name, names));
        const OptionValue read = option_value(value);
        const Option::Fit fit = option->fit(read);
        if (fit == Option::other_type) fail(Exit::bad_data, "{}: \"{}\" is not {}", path, name, option->wants());
        if (fit == Option::too_large)
            fail(Exit::bad_data, "{}: \"{}\" is {}, which is too large", path, name, std::get<int64_t>(read));
        option->assign(read);
    }
    try {
        if (task_of(o).is_text)
            fail(Exit::bad_data,
                 "its task is {0}, which is kept as a file of examples: fci train --task {0} --data FILE", o.task);
        return resolve(o);
    } catch (const Error& e) {
        fail(Exit::bad_data, "{}: options: {}", path, e.what());
    }
}

Description read_description(const std::string& path, TaskOptions* options) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    const std::string text = read_file(path);
    const auto error = parser.parse(text).get(root);
    expect_memory(error);
    if (error) fail(Exit::bad_data, "{}: not JSON: {}", path, simdjson::error_message(error));
    simdjson::dom::object object;
    if (root.get(object)) fail(Exit::bad_data, "{}: not a JSON object", path);
    Description d;
    std::set<std::string> seen;
    for (const auto [key, value] : object) {
        const std::string_view name = key;
        const simdjson::dom::element element = value;
        refuse_twice(path, seen, name);
        const std::pair<const char*, int64_t*> sizes[] = {
            {"vocab", &d.vocab}, {"count", &d.count}, {"length", &d.length}, {"queries", &d.queries}};
        const auto size =
            std::find_if(std::begin(sizes), std::end(sizes), [&](const auto& s) { return name == s.first; });
        if (size != std::end(sizes)) {
            read_json(path, name, element, *size->second, "an integer");
            if (*size->second < 1 || *size->second > std::numeric_limits<int32_t>::max())
                fail(Exit::bad_data, "{}: \"{}\" is {}", path, name, *size->second);
        } else if (name == "format") {
            std::string_view format;
            read_json(path, name, element, format, "a string");
            if (format != json_format)
                fail(Exit::bad_data, "{}: \"format\" is \"{}\", not \"{}\"", path, format, json_format);
        } else if (name == "seed") {
            uint64_t seed = 0;
            read_json(path, name, element, seed, "an integer from 0 to 2^64 - 1");
        } else if (name == "options") {
            simdjson::dom::object inner;
            read_json(path, name, element, inner, "an object");
            const TaskOptions read = read_options(path, inner);
            if (options) *options = read;
        } else {
            fail(Exit::bad_data, "{}: unknown key \"{}\"{}", path, name,
                 did_you_mean(name, {"format", "vocab", "count", "length", "queries", "seed", "options"}));
        }
    }
    for (const char* required : {"format", "vocab"})
        if (!seen.count(required)) fail(Exit::bad_data, "{}: \"{}\" is missing", path, required);
    if (d.vocab > largest_vocab) fail(Exit::bad_data, "{}: \"vocab\" is {}, over {}", path, d.vocab, largest_vocab);
    return d;
}

} // namespace

void save_dataset(const std::string& dir, const Dataset& data, const TaskOptions& options, uint64_t seed) {
    check(data.correct.empty(),
          "save_dataset: a folder holds one right position per query, but these data have several");
    std::error_code error;
    fs::create_directories(dir, error);
    if (error) fail(Exit::internal, "{}: the folder cannot be made: {}", dir, error.message());
    const bool empty = fs::is_empty(dir, error);
    if (error) fail(Exit::internal, "{}: the folder cannot be read: {}", dir, error.message());
    if (!empty && fs::exists(dir + "/dataset.json", error) && !fs::exists(dir + "/label.npy", error)) // written last
        fail(Exit::usage, "{}: an earlier fci generate was interrupted there; remove the folder, or name a new one",
             dir);
    if (!empty) fail(Exit::usage, "{}: the folder is not empty; name a new one", dir);

    Json of_task = Json::object(2);
    TaskOptions written = options;
    for (const Option& o : option_table(written)) of_task.add(o.flag().substr(2), Json::raw(o.text()));
    Json description = Json::object(1);
    description.add("format", json_format).add("vocab", data.vocab).add("count", data.count);
    description.add("length", data.length).add("queries", data.queries).add("seed", seed).add("options", of_task);
    try { // the description first: after an interruption an array is missing, so the folder cannot pass as complete
        write_file_atomically(dir + "/dataset.json", description.text() + "\n");
        save_npy(dir + "/tokens.npy", data.tokens, data.count, data.length);
        save_npy(dir + "/query.npy", data.query, data.count, data.queries);
        save_npy(dir + "/answer.npy", data.answer, data.count, data.queries);
        save_npy(dir + "/label.npy", data.label, data.count, data.queries);
    } catch (...) {
        for (const char* name : {"dataset.json", "tokens.npy", "query.npy", "answer.npy", "label.npy"})
            fs::remove(dir + "/" + name, error);
        throw;
    }
}

int vocab_of(int64_t largest_token) {
    return static_cast<int>(std::min((largest_token + 1 + 63) / 64 * 64, largest_vocab));
}

Dataset load_dataset(const std::string& dir, TaskOptions* options) {
    const auto path = [&](const char* name) { return dir + "/" + name; };
    std::error_code error;
    if (is_zoology(dir)) return load_zoology(dir);
    if (!fs::is_directory(dir, error)) fail(Exit::bad_data, "{}: no such folder", dir);
    NpyArray tokens = load_npy(path("tokens.npy"), false);
    Dataset data;
    data.count = tokens.rows, data.length = tokens.columns;

    const std::pair<const char*, std::vector<int32_t>*> columns[] = {
        {"query.npy", &data.query}, {"answer.npy", &data.answer}, {"label.npy", &data.label}};
    NpyArray array[3];
    for (int c = 0; c < 3; ++c) {
        NpyArray& a = array[c] = load_npy(path(columns[c].first), true);
        if (a.rows != tokens.rows || a.columns != array[0].columns)
            fail(Exit::bad_data, "{}: shape ({},{}), but tokens.npy has {} rows{}", path(columns[c].first), a.rows,
                 a.columns, tokens.rows, c ? fmt::format(" and query.npy {} columns", array[0].columns) : "");
    }
    data.queries = array[0].columns;

    const std::string json = path("dataset.json");
    int64_t vocab;
    if (fs::exists(json, error)) {
        const Description d = read_description(json, options);
        const std::tuple<const char*, int64_t, int> sizes[] = {
            {"count", d.count, data.count}, {"length", d.length, data.length}, {"queries", d.queries, data.queries}};
        for (const auto& [name, said, is] : sizes)
            if (said >= 0 && said != is)
                fail(Exit::bad_data, "{}: \"{}\" is {}, but the arrays have {}", json, name, said, is);
        vocab = d.vocab;
    } else {
        const auto largest = [](const NpyArray& a) { return int64_t{*std::max_element(a.x.begin(), a.x.end())}; };
        vocab = vocab_of(std::max({largest(tokens), largest(array[2]), int64_t{0}}));
    }
    data.vocab = static_cast<int>(vocab);
    expect_range(path("tokens.npy"), tokens, vocab, "vocabulary");
    expect_range(path("query.npy"), array[0], data.length, "positions of a sequence");
    expect_range(path("answer.npy"), array[1], data.length, "positions of a sequence");
    expect_range(path("label.npy"), array[2], vocab, "vocabulary");
    data.tokens = std::move(tokens.x);
    for (int c = 0; c < 3; ++c) *columns[c].second = std::move(array[c].x);
    return data;
}

} // namespace fci
