// fci completion and the man page, in the shells themselves where they are installed.
#include <cstdlib>

#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

namespace {

bool have(const std::string& name) { return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0; }

Ran shell(const std::string& path, const std::string& text) { return Child({"-c", text}, {}, "", path).wait(); }

// What bash offers to complete the last of these words, split as bash does, one per line; and the options that it sets.
std::string offered(const std::string& script, const std::string& words, const std::string& in = ".") {
    return shell("/bin/bash",
                 fmt::format("source '{}'; cd '{}'; compopt() {{ echo \"$@\"; }}; COMP_WORDS=({}); "
                             "COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _fci; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                             script, in, words))
        .out;
}

} // namespace

TEST_CASE("completion: bash offers commands, flags and the values of enumerations", "[cli]") {
    const Scratch scratch;
    const std::string script = scratch / "fci.bash";
    const Ran made = run({"completion", "bash"});
    expect_ran(made, 0, "complete -F _fci fci");
    CHECK(made.err.empty());
    write_file_atomically(script, made.out);
    const std::string in = scratch / "folder";
    for (const char* name : {"cuda", "table9", "my files", "a:b"}) std::filesystem::create_directories(in + "/" + name);
    const struct {
        const char *words, *offered;
    } expected[] = {
        {"fci tr", "train\n"},
        {"fci help re", "reproduce\nreport\n"},
        {"fci train --rou", "--router\n--router-norm\n"},
        {"fci train --router rank", "rank1\n"},
        {"fci table --format ''", "text\nmd\nlatex\ncsv\njson\n"},
        {"fci sweep --name", "--name\n"},
        {"fci train --device cu", "cuda\n"}, // but no folder of that name
        {"fci train --device x", "\n"},
        {"fci train --seed c", "\n"},
        {"fci demo c", "\n"},
        {"fci sweep --scale ''", "paper\nsmall\nsmoke\n"},
        {"fci report --scale ''", "paper\nsmall\nsmoke\n"},
        {"fci plot --scale sm", "small\nsmoke\n"},
        {"fci plot x --y acc", "accuracy\n"},
        {"fci plot figure3", "figure3\n"},
        {"fci plot scal", "scaling\n"},
        {"fci completion ''", "bash\nzsh\nfish\n"},
        {"fci show --method b", "bm25\nbloom\n"},
        {"fci eval --task ''", "hotpotqa\n"},
        {"fci table table", "table1\ntable2\ntable3\n"},
        {"fci rows f2.ra", "f2.raw\n"},
        {"fci table table9", "-o filenames\ntable9\n"}, // a file, since no row has that name
        {"fci table --reading marker-fixed-same-e", "marker-fixed-same-everywhere\n"},
        {"fci train --data my", "-o filenames\nmy files\n"}, // one word, which bash quotes
        {"fci train --data 'my\\ f'", "-o filenames\nmy files\n"},
        {"fci train --data '\"my f'", "-o filenames\nmy files\n"},
        {"fci eval cu", "-o filenames\ncuda\n"},
        {"fci train --task = d", "der\n"}, // --task=d, cut at the =
        {"fci train --task =", "der\nmqar\nhotpotqa\n"},
        {"fci train --task=d", "--task=der\n"}, // if COMP_WORDBREAKS has no =
        {"fci train --data = my", "-o filenames\nmy files\n"},
        {"fci train --quiet = c", "\n"},
        {"fci train --representation transf", "-o nospace\ntransformer:\n"},
        {"fci train --representation transformer :", "\n"},
        {"fci train --representation transformer : 2 --device cu", "cuda\n"},
        {"fci train --representation = transf", "-o nospace\ntransformer:\n"},
        {"fci train --data a : b", "-o filenames\nb\n"}, // a:b
        {"fci train --data a :", "-o filenames\nb\n"},
    };
    for (const auto& e : expected) {
        INFO(e.words);
        CHECK(offered(script, e.words, in) == e.offered);
    }
    CHECK(shell("/bin/bash", "source '" + script + "'; complete -p fci").out == "complete -F _fci fci\n");
    expect_refused(run({"completion", "bsh"}), 2, "did you mean 'bash'?");
}

TEST_CASE("completion: zsh and fish take their scripts", "[cli]") {
    const Scratch scratch;
    for (const char* name : {"zsh", "fish"}) {
        const Ran made = run({"completion", name});
        expect_ran(made, 0, "router");
        write_file_atomically(scratch / name, made.out);
        if (!have(name)) continue; // the script is always generated, and tried if its shell is installed
        INFO(name);
        CHECK(std::system((std::string(name) + " -n '" + scratch / name + "'").c_str()) == 0);
    }
    if (!have("fish")) return;
    const std::string folder = scratch / "in";
    for (const char* name : {"cuda", "table9"}) std::filesystem::create_directories(folder + "/" + name);
    const auto fish = [&](const std::string& line) {
        const std::string command = fmt::format("cd '{}' && fish -c \"source '{}'; complete -C '{}'\" >'{}'", folder,
                                                scratch / "fish", line, scratch / "out");
        CHECK(std::system(command.c_str()) == 0);
        return read_file(scratch / "out");
    };
    const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
    CHECK(has(fish("fci train --device cu"), "cuda\t"));
    CHECK(!has(fish("fci train --device cu"), "cuda/"));
    CHECK(has(fish("fci train --data cu"), "cuda/"));
    CHECK(has(fish("fci table ta"), "table1"));
    CHECK(has(fish("fci plot --scale sm"), "smoke"));
    CHECK(!has(fish("fci demo cu"), "cuda"));
}

TEST_CASE("man: every command with all of its flags, and no line is a request by mistake", "[cli]") {
    const std::string page = run({"help", "--man"}).out;
    CHECK(page.starts_with(".TH FCI 1 "));
    for (const char* command : {"demo", "train", "sweep", "route", "plot", "completion"})
        CHECK(page.find(fmt::format(".SS \"fci {}\"\n", command)) != std::string::npos);
    for (const char* flag : {"learning\\-rate", "top\\-k", "shard", "per\\-example", "coverage"})
        CHECK(page.find(fmt::format("\n.BR \\-\\-{} ", flag)) != std::string::npos);
    if (!have("man")) return;
    const Scratch scratch;
    write_file_atomically(scratch / "fci.1", page);
    const std::string shown = scratch / "shown", wrong = scratch / "wrong",
                      command = fmt::format("LC_ALL=C MANWIDTH=80 man -l --warnings '{}' >'{}' 2>'{}'",
                                            scratch / "fci.1", shown, wrong);
    CHECK(std::system(command.c_str()) == 0);
    CHECK(read_file(wrong).empty());
    CHECK(read_file(shown).find("fci train") != std::string::npos);
}
