// For those who read options from TOML: config files here, rows and scales in src/study. Errors name the file, the line
// and the nearest key.
#pragma once
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "train/options.h"

namespace fci {

toml::table parse_toml(const std::string& text, const std::string& file, Exit code = Exit::usage);

// Sets the option of the table that `key` names, and returns it. `others`: keys that might have been meant beside it.
const Option& set_from_toml(const std::vector<Option>& all, const std::string& key, const toml::node&,
                            const std::string& file, Exit code = Exit::usage, std::vector<std::string> others = {});

} // namespace fci
