#include "core/option.h"

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "core/json.h"
#include "core/nearest.h"

namespace fci {

std::string flag_of(const std::string& key) {
    std::string f = "--" + key;
    std::replace(f.begin(), f.end(), '_', '-');
    return f;
}

std::string Option::flag() const { return flag_of(key); }

std::string Option::word() const {
    return std::visit(
        [](auto* p) -> std::string {
            std::string s = fmt::format("{}", *p); // of a double the shortest that reads back the same
            if (std::is_same_v<decltype(p), double*> && s.find_first_of(".e") == std::string::npos) s += ".0";
            return s;
        },
        value);
}

std::string Option::text() const {
    return std::holds_alternative<std::string*>(value) ? json_quote(word()) : word(); // a TOML string is as a JSON one
}

const char* Option::wants() const {
    static constexpr const char* of_type[] = {"an integer", "an integer", "a number", "true or false", "a string"};
    return of_type[value.index()];
}

void Option::copy(const Option& from) const {
    std::visit([&](auto* p) { *p = *std::get<decltype(p)>(from.value); }, value);
}

Option::Fit Option::fit(const OptionValue& v) const {
    const auto* whole = std::get_if<int64_t>(&v);
    if (std::holds_alternative<int*>(value) && whole) return *whole == static_cast<int>(*whole) ? fits : too_large;
    const bool right = std::holds_alternative<int64_t*>(value)  ? whole != nullptr
                       : std::holds_alternative<double*>(value) ? whole || std::holds_alternative<double>(v)
                       : std::holds_alternative<bool*>(value)   ? std::holds_alternative<bool>(v)
                                                                : std::holds_alternative<std::string>(v);
    return right && !std::holds_alternative<int*>(value) ? fits : other_type;
}

void Option::assign(const OptionValue& v) const {
    std::visit(
        [&](auto* p) {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, bool>)
                *p = std::get<T>(v);
            else if (const auto* whole = std::get_if<int64_t>(&v))
                *p = static_cast<T>(*whole);
            else
                *p = static_cast<T>(std::get<double>(v));
        },
        value);
}

const Option* find_option(const std::vector<Option>& all, const std::string& name) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const Option& o) { return o.flag() == flag_of(name); });
    return found == all.end() ? nullptr : &*found;
}

namespace {

void check_value(const Option& o, const OptionValue& v, const std::string& at, const std::string& at_word, Exit code) {
    if (const auto* word = std::get_if<std::string>(&v)) {
        if (!o.allowed.empty()) expect_one_of(at_word, *word, o.allowed, code);
    } else if (o.low < o.high) {
        const auto* whole = std::get_if<int64_t>(&v);
        const double x = whole ? static_cast<double>(*whole) : std::get<double>(v);
        if (!(x >= o.low && x <= o.high))
            fail(code, "{}: must be from {:.10g} to {:.10g}, not {:.10g}", at, o.low, o.high, x);
    }
}

OptionValue value_of(const Option& o) {
    return std::visit(
        [](auto* p) -> OptionValue {
            if constexpr (std::is_same_v<decltype(p), int*>) return int64_t{*p};
            return *p;
        },
        o.value);
}

template <class T>
OptionValue number_in(const std::string& text) {
    T x{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    return x;
}

} // namespace

void set(const Option& o, const OptionValue& v, const std::string& at, const std::string& at_word, Exit code) {
    const Option::Fit fit = o.fit(v);
    if (fit == Option::other_type)
        fail(code, "{}: expected {}{}", at, o.wants(),
             std::holds_alternative<std::string*>(o.value) ? ", in quotes" : "");
    check_value(o, v, at, at_word, code);
    if (fit == Option::too_large) fail(code, "{}: too large", at);
    o.assign(v);
}

void set_from_text(const Option& o, const std::string& text) {
    OptionValue v;
    if (std::holds_alternative<std::string*>(o.value)) {
        if (text.empty()) fail(Exit::usage, "{} '': expected a value", o.flag());
        v = text;
    } else if (std::holds_alternative<bool*>(o.value)) {
        if (text == "true" || text == "false") v = text == "true";
    } else {
        v = std::holds_alternative<double*>(o.value) ? number_in<double>(text) : number_in<int64_t>(text);
    }
    set(o, v, o.flag() + " " + text, o.flag(), Exit::usage);
}

void check_values(const std::vector<Option>& all) {
    for (const Option& o : all)
        check_value(o, value_of(o), fmt::format("{} {}", o.flag(), o.word()), o.flag(), Exit::usage);
}

} // namespace fci
