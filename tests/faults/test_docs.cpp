// The tables in README.md, FINDINGS.md and runs/tables are those of the recorded results: tools/docs.sh would change
// nothing. FINDINGS.md is short, its links exist, and measured numbers appear only in its tables.
#include <cstdlib>
#include <sstream>

#include "tests/faults/program.h"

using namespace fci;

namespace {

// A document without the parts between `<!-- ./fci ... -->` and `<!-- end -->`, and without these lines.
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

TEST_CASE("docs: the tables are those of the recorded results", "[docs][recorded]") {
    const std::string command = "FCI_BIN='" + program() + "' sh tools/docs.sh --check";
    CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("docs: the findings are short, and their numbers come from the results", "[docs]") {
    const std::string text = own_text("FINDINGS.md");
    std::istringstream in(text);
    size_t words = 0;
    for (std::string word; in >> word;) ++words;
    CHECK((words > 500 && words <= 1500));
    const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
    bool quoted = false;
    for (size_t i = 0; i + 1 < text.size(); ++i) { // 98.4, 25%: the paper's numbers are in the tables, too
        quoted ^= text[i] == '`';
        if (!quoted && digit(i) && (text[i + 1] == '%' || (text[i + 1] == '.' && digit(i + 2))))
            FAIL_CHECK("FINDINGS.md: a number by hand: " << text.substr(i, 6) << "; let a table show it");
    }
    size_t links = 0;
    for (size_t at = 0; (at = text.find("](", at)) != std::string::npos; ++links) {
        at += 2;
        const std::string link = text.substr(at, text.find(')', at) - at);
        if (link.find_first_of("#:") == std::string::npos && !std::filesystem::exists(link))
            FAIL_CHECK("FINDINGS.md links " << link << ": not there");
    }
    CHECK(links >= 5);
    for (const auto& entry : std::filesystem::directory_iterator("runs/tables")) {
        INFO(entry.path());
        CHECK(text.find(entry.path().string()) != std::string::npos);
        CHECK(read_file(entry.path().string()).find("<!-- ./fci table ") != std::string::npos);
    }
}
