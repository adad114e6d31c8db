// config.json of a folder as Hugging Face lays it out, and the list of its shards: what they must say, and nothing else
// of them is read. Errors: Exit::bad_data, naming the file, the key and what it should be.
#pragma once
#include <fmt/format.h>
#include <simdjson.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace fci {

class PretrainedConfig {
public:
    PretrainedConfig(std::string path, std::string text); // `path` is for messages

    const std::string& path() const { return path_; }
    const std::string& text() const { return text_; }

    bool has(std::string_view key) const; // and is not null

    // A key that is absent or null has the value `otherwise`.
    int integer(std::string_view key, int least, int most) const; // must be there
    int integer(std::string_view key, int least, int most, int otherwise) const;
    double number(std::string_view key, double least, double most, double otherwise) const;
    bool flag(std::string_view key, bool otherwise) const;
    std::string word(std::string_view key, const std::string& otherwise) const;

    // Refused unless it is that; `why`: what else would be needed.
    void expect_word(std::string_view key, const std::string& only, const std::string& why) const;
    void expect_flag(std::string_view key, bool only, bool otherwise, const std::string& why) const;

    // Rotary positions: base and the share of each head, from the keys that transformers has used over time, `base_key`
    // and `share_key` ("" if the family has none) or an object rope_parameters. Scaled positions are refused.
    struct Rotary {
        double base, share;
    };
    Rotary rotary(std::string_view base_key, std::string_view share_key, double share) const;

    template <class... Args>
    [[noreturn]] void refuse(fmt::format_string<Args...> what, Args&&... args) const {
        refuse_text(fmt::format(what, std::forward<Args>(args)...));
    }

private:
    [[noreturn]] void refuse_text(const std::string& what) const;
    bool find(std::string_view key, simdjson::dom::element& to) const;
    double number_of(simdjson::dom::element, std::string_view key, double least, double most) const;

    std::string path_, text_;
    simdjson::dom::parser parser_;
    simdjson::dom::object root_;
};

// model.safetensors.index.json: the shard, a file of the same folder, that has each tensor.
std::map<std::string, std::string> read_shard_index(const std::string& path, const std::string& text);

} // namespace fci
