// How the report looks: one palette for page and figures, light, dark and on paper. Blue says a learning rate and
// nothing else, the darker the higher (r0 1e-4 or less, r1 3e-4, r2 1e-3, r3 3e-3 or more); ink (x) is what has none;
// orange (m) is the joint reading, which has a shape of its own too. Marks in Okabe and Ito's colours; words in their
// colour are darker.
#pragma once

namespace fci {

extern const char* const palette_css; // colours as variables
extern const char* const marks_css;   // what is drawn, by class
extern const char* const page_css;    // the page around it
extern const char* const hover_js;    // shows what a mark says of itself (data-t)

} // namespace fci
