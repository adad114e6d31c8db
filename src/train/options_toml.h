// Reading options from TOML: config files here, rows and scales in src/study. Errors name the file, the line
// and the nearest key.
#pragma once
#define TOML_EXCEPTIONS 1
namespace fci {
[[noreturn]] void toml_gave_up(); // where toml++ would abort: `[` and a line end, for one
}
#define TOML_ASSERT(expr) ((expr) ? void() : ::fci::toml_gave_up())
#include <toml++/toml.h>

#include "train/options.h"

namespace fci {

// Keys of at most 32 parts; no NUL in strings, for a path would end there.
toml::table parse_toml(const std::string& text, const std::string& file, Exit code = Exit::usage);

// learning-rate beside learning_rate.
[[noreturn]] void refuse_twice(const Option&, const toml::node&, const std::string& file, Exit code = Exit::usage);

// Sets the option of the table that `key` names, and returns it. `others`: keys that might have been meant beside it.
const Option& set_from_toml(const std::vector<Option>& all, const std::string& key, const toml::node&,
                            const std::string& file, Exit code = Exit::usage, std::vector<std::string> others = {});

} // namespace fci
