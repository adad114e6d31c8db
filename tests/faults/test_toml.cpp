// Bad TOML files: syntax that the reader does not support, values that would be lost, characters that control a
// terminal.
#include "core/files.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

TEST_CASE("toml: what its reader cannot take is refused, as is what would be lost or obeyed", "[cli]") {
    const Scratch scratch;
    const auto file = [&](const std::string& text) {
        write_file_atomically(scratch / "a.toml", text);
        return scratch / "a.toml";
    };
    std::string deep = "a", nested = "a = ", closed;
    for (int i = 0; i < 200'000; ++i) deep += ".a", nested += "[", closed += "]";
    const struct {
        std::string text, message;
    } bad[] = {{"[\n", "not TOML"},
               {"[[\n", "not TOML"},
               {"[a.\n", "not TOML"},
               {"x = [\n", "not TOML"},
               {"x = {\n", "not TOML"},
               {"x = ", "not TOML"},
               {"\n" + deep + " = 1\n", ":2: not TOML: a key of more than 32 parts"},
               {"[" + deep + "]\n", ":1: not TOML: a key of more than 32 parts"},
               {"x = \"a.b\" # c.d\ny = { " + deep + " = 1 }\n", ":2: not TOML: a key of more than 32 parts"},
               {"seed = 1\n\uFE7F = 1\n", ":2: not TOML: a character outside ASCII"},
               {"x = \u00e9\n", ":1: not TOML: a character outside ASCII"},
               {"\uFEFF# \u00e9\n\"\u00e9\" = 1\n", "\u00e9: no such option"},
               {nested + closed, "not TOML"},
               {"out = \"\"\"x\"\"\"\"\"\"\n", "not TOML: more than five quotes"},
               {"out = \'\'\'x\'\'\'\'\'\'\n", "not TOML: more than five quotes"},
               {"out = \"a\\u0000b\"\n", "NUL in a string"},
               {"\"lr\\u0000\" = 1\n", "NUL in a string"},
               {"seed = 1\nlearning-rate = 1e-3\nlearning_rate = 2e-3\n", "is also given as learning-rate"},
               {"\"\\u001b[31m\" = 1\n", "\\x1b[31m: no such option"}};
    for (const auto& [text, message] : bad) {
        INFO(text.substr(0, 100));
        expect_refused(run({"train", "--config", file(text), "--out", scratch / "run"}), 2, message);
        CHECK(run({"sweep", file(text), "--status"}).code == 2);
    }
    for (const char* end : {"\"\"\"\"\"", "\"\"\"\"", "\"\"\""}) // as strings may end
        expect_refused(run({"train", "--config", file("out = \"\"\"x\\\"" + std::string(end) + "\nbad = 1\n")}), 2,
                       "bad: no such option");
    expect_refused(run({"sweep", file("[[row]]\nid = \"t.a\\u001b[2J\"\nlayers = 1\n"), "--status"}), 2,
                   ":2: id: a control character");
    expect_refused(
        run({"sweep", file("[[row]]\nid = \"t.a\"\nlearning-rate = 1e-3\nlearning_rate = 1e-3\n"), "--status"}), 2,
        "is also given as learning-rate");
    const Ran flag = run({"train", "--task", "\x1b]0;x\x07"});
    expect_refused(flag, 2, "\\x1b]0;x\\x07");
    CHECK(flag.err.find('\x1b') == std::string::npos);
}
