// The report's style: one palette for page and figures, light, dark and printed. Blue always means a learning rate,
// darker for higher rates (r0 1e-4 or less, r1 3e-4, r2 1e-3, r3 3e-3 or more). Ink (x) means no learning rate. Orange
// (m) is the joint reading, which also has its own shape. Marks have Okabe and Ito's colours; words in these colours
// are darker.
#pragma once

namespace fci {

extern const char* const palette_css; // colours as variables
extern const char* const marks_css;   // drawn marks, by class
extern const char* const page_css;    // the page around it
extern const char* const hover_js;    // shows a mark's description (data-t)

} // namespace fci
