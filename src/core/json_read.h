// Reading JSON: a value of an option, lines, and memory that the parser could not get.
#pragma once
#include <simdjson.h>

#include <new>

#include "core/option.h"

namespace fci {

// Out of memory is no fault of the file.
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

// Calls f(error, value) for each whole line of a JSON Lines text; what stands behind the last line end is none.
template <class F>
void each_json_line(const std::string& text, F f) {
    simdjson::dom::parser parser;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        simdjson::dom::element value;
        const auto error = parser.parse(text.data() + begin, end - begin).get(value);
        expect_memory(error);
        f(error, value);
    }
}

} // namespace fci
