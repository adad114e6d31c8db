// Reading JSON: a value of an option, and memory that the parser could not get.
#pragma once
#include <simdjson.h>

#include <new>

#include "core/option.h"

namespace fci {

// The file is not to blame for it.
inline void expect_memory(simdjson::error_code error) {
    if (error == simdjson::MEMALLOC) throw std::bad_alloc();
}

inline OptionValue option_value(simdjson::dom::element from) {
    if (from.is_bool()) return bool(from);
    if (from.is_int64()) return int64_t(from);
    if (from.is_double()) return double(from);
    if (from.is_string()) return std::string(std::string_view(from));
    return {};
}

} // namespace fci
