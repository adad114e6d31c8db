// Parts that html.cpp and html_rows.cpp share.
#pragma once
#include "report/draw.h"

namespace fci {

inline Markup p_of(const char* css, const Markup& inner) { return element("p", {{"class", css}}, inner); }
inline Markup h2(const std::string& words) { return element("h2", words); }
inline Markup code(const std::string& words) { return element("code", words); }
inline Markup b(const std::string& words) { return element("b", words); }
inline Markup head(const std::string& words, const char* css = "") {
    return element("th", {{"class", css}, {"scope", "col"}}, words);
}

Markup folds(const Page&);  // every row, folded
Markup checks(const Page&); // controls, expectations that failed, agreement with the record

} // namespace fci
