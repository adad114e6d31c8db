// The tables in README.md, FINDINGS.md and runs/tables are those of the recorded results: tools/docs.sh would change nothing.
#include <cstdlib>

#include "tests/faults/program.h"

using namespace fci;

TEST_CASE("docs: the tables are those of the recorded results", "[docs]") {
    const std::string command = "FCI_BIN='" + program() + "' sh tools/docs.sh --check";
    CHECK(std::system(command.c_str()) == 0);
}
