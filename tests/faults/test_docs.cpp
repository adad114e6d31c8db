// The tables in README.md, FINDINGS.md and runs/tables are those of the recorded results: tools/docs.sh would change
// nothing. And FINDINGS.md is short, links what is there, and leaves measured numbers to its tables.
#include <cstdlib>
#include <regex>
#include <sstream>

#include "tests/faults/program.h"

using namespace fci;

namespace {

// A document without what stands between `<!-- ./fci ... -->` and `<!-- end -->`, and without these lines.
std::string own_text(const std::string& file) {
    std::istringstream in(read_file(file));
    std::string text, line;
    bool generated = false;
    while (std::getline(in, line)) {
        generated |= line.starts_with("<!-- ./fci");
        if (!generated) text += line + "\n";
        if (line == "<!-- end -->") generated = false;
    }
    return text;
}

} // namespace

TEST_CASE("docs: the tables are those of the recorded results", "[docs]") {
    const std::string command = "FCI_BIN='" + program() + "' sh tools/docs.sh --check";
    CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("docs: the findings are short, and their numbers come from the results", "[docs]") {
    const std::string text = own_text("FINDINGS.md");
    std::istringstream in(text);
    size_t words = 0;
    for (std::string word; in >> word;) ++words;
    CHECK((words > 500 && words <= 1500));
    const std::string quoted = std::regex_replace(text, std::regex("`[^`]*`"), "");
    std::smatch measured; // 98.4, 25%: those of the paper, too, stand in the tables
    if (std::regex_search(quoted, measured, std::regex("[0-9]+(\\.[0-9]|%)")))
        FAIL_CHECK("FINDINGS.md: a number by hand: " << measured.str() << "; let a table show it");
    const std::regex link("\\]\\(([^)#:]+)\\)");
    size_t links = 0;
    for (std::sregex_iterator at(text.begin(), text.end(), link), end; at != end; ++at, ++links)
        if (!std::filesystem::exists((*at)[1].str())) FAIL_CHECK("FINDINGS.md links " << (*at)[1] << ": not there");
    CHECK(links >= 5);
    for (const auto& entry : std::filesystem::directory_iterator("runs/tables")) {
        INFO(entry.path());
        CHECK(text.find(entry.path().string()) != std::string::npos);
        CHECK(read_file(entry.path().string()).find("<!-- ./fci table ") != std::string::npos);
    }
}
