// A value of an option, out of JSON.
#pragma once
#include <simdjson.h>

#include "core/option.h"

namespace fci {

inline OptionValue option_value(simdjson::dom::element from) {
    if (from.is_bool()) return bool(from);
    if (from.is_int64()) return int64_t(from);
    if (from.is_double()) return double(from);
    if (from.is_string()) return std::string(std::string_view(from));
    return {};
}

} // namespace fci
