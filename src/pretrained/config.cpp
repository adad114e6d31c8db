#include "pretrained/config.h"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/json.h"
#include "core/json_read.h"

namespace fci {
namespace {

using simdjson::dom::element;

// Of what is in the file, for a message: a short piece without bytes that a terminal would obey.
std::string shown(std::string_view s) { return json_quote(s.substr(0, 60)) + (s.size() > 60 ? ".." : ""); }

std::string shown(element e) { // as it stands there; minify escapes what is no text
    std::string s = simdjson::minify(e);
    const bool cut = s.size() > 60;
    if (cut) s.resize(60);
    while (cut && s.back() & 0x80) s.pop_back(); // of a character of several bytes, too
    return s + (cut ? ".." : "");
}

simdjson::dom::object object_of(const std::string& path, const std::string& text, simdjson::dom::parser& parser) {
    element root;
    const auto error = parser.parse(simdjson::padded_string(text)).get(root);
    expect_memory(error);
    simdjson::dom::object object;
    if (error)
        fail(Exit::bad_data, "{}: is not valid JSON: {}; download it again", path, simdjson::error_message(error));
    if (root.get_object().get(object))
        fail(Exit::bad_data, "{}: is not an object of keys and values; download it again", path);
    std::set<std::string_view> seen;
    for (const auto& [key, value] : object)
        if (!seen.insert(key).second) fail(Exit::bad_data, "{}: has {} twice; download it again", path, shown(key));
    return object;
}

} // namespace

PretrainedConfig::PretrainedConfig(std::string path, std::string text)
    : path_(std::move(path)), text_(std::move(text)), root_(object_of(path_, text_, parser_)) {}

void PretrainedConfig::refuse_text(const std::string& what) const { fail(Exit::bad_data, "{}: {}", path_, what); }

bool PretrainedConfig::find(std::string_view key, element& to) const {
    return !root_.at_key(key).get(to) && !to.is_null();
}

bool PretrainedConfig::has(std::string_view key) const {
    element e;
    return find(key, e);
}

double PretrainedConfig::number_of(element e, std::string_view key, double least, double most) const {
    double x;
    if (e.get_double().get(x) || !(least <= x && x <= most))
        refuse("{} is {}, expected a number from {} to {}", key, shown(e), least, most);
    return x;
}

int PretrainedConfig::integer(std::string_view key, int least, int most) const {
    element e;
    if (!find(key, e)) refuse("has no {}; is it the config.json of a model?", key);
    int64_t n;
    if (e.get_int64().get(n) || n < least || n > most)
        refuse("{} is {}, expected an integer from {} to {}", key, shown(e), least, most);
    return static_cast<int>(n);
}

int PretrainedConfig::integer(std::string_view key, int least, int most, int otherwise) const {
    element e;
    return find(key, e) ? integer(key, least, most) : otherwise;
}

double PretrainedConfig::number(std::string_view key, double least, double most, double otherwise) const {
    element e;
    return find(key, e) ? number_of(e, key, least, most) : otherwise;
}

bool PretrainedConfig::flag(std::string_view key, bool otherwise) const {
    element e;
    if (!find(key, e)) return otherwise;
    if (!e.is_bool()) refuse("{} is {}, expected true or false", key, shown(e));
    return bool(e);
}

std::string PretrainedConfig::word(std::string_view key, const std::string& otherwise) const {
    element e;
    if (!find(key, e)) return otherwise;
    std::string_view s;
    if (e.get_string().get(s)) refuse("{} is {}, expected a string", key, shown(e));
    return std::string(s);
}

void PretrainedConfig::expect_word(std::string_view key, const std::string& only, const std::string& why) const {
    if (const std::string s = word(key, only); s != only)
        refuse("{} is {}, but only {} is supported: {}", key, shown(s), shown(only), why);
}

void PretrainedConfig::expect_flag(std::string_view key, bool only, bool otherwise, const std::string& why) const {
    if (flag(key, otherwise) != only) refuse("{} is {}, which is not supported: {}", key, !only, why);
}

PretrainedConfig::Rotary PretrainedConfig::rotary(std::string_view base_key, std::string_view share_key,
                                                  double share) const {
    constexpr const char* scaled = "scaling positions beyond those of training is not supported";
    constexpr double most = 1e12;
    element e;
    if (find("rope_scaling", e)) refuse("rope_scaling is {}: {}", shown(e), scaled);
    Rotary r{number(base_key, 1, most, 10000), share_key.empty() ? share : number(share_key, 0, 1, share)};
    if (!find("rope_parameters", e)) return r;
    simdjson::dom::object object;
    if (e.get_object().get(object)) refuse("rope_parameters is not an object");
    for (const auto& [key, value] : object) {
        std::string_view type;
        if (key == "rope_theta")
            r.base = number_of(value, key, 1, most);
        else if (key == "partial_rotary_factor")
            r.share = number_of(value, key, 0, 1);
        else if (key != "rope_type" || value.get_string().get(type) || type != "default")
            refuse("rope_parameters has {}: {}: {}", shown(key), shown(value), scaled);
    }
    return r;
}

std::map<std::string, std::string> read_shard_index(const std::string& path, const std::string& text) {
    simdjson::dom::parser parser;
    const simdjson::dom::object root = object_of(path, text, parser);
    simdjson::dom::object files;
    if (root["weight_map"].get_object().get(files))
        fail(Exit::bad_data, "{}: has no object weight_map; download it again", path);
    std::map<std::string, std::string> shards;
    for (const auto& [name, value] : files) {
        std::string_view file;
        if (value.get_string().get(file))
            fail(Exit::bad_data, "{}: the file of {} is {}, expected its name", path, shown(name), shown(value));
        if (file.find('/') != std::string_view::npos || file.find('\0') != std::string_view::npos ||
            !file.ends_with(".safetensors"))
            fail(Exit::bad_data, "{}: the file of {} is {}, which is not a .safetensors file in the same folder", path,
                 shown(name), shown(file));
        if (!shards.emplace(name, file).second) fail(Exit::bad_data, "{}: has tensor {} twice", path, shown(name));
    }
    if (shards.empty()) fail(Exit::bad_data, "{}: weight_map names no tensor; download it again", path);
    return shards;
}

} // namespace fci
