// fci: its commands (cli/commands.cpp), one of which is carried out.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>

#include "cli/command.h"
#include "cli/completion.h"
#include "core/nearest.h"
#include "core/streams.h"
#include "study/layout.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {
namespace {

// A flag that the subcommand does not know, with the nearest one that it does.
void refuse_unknown(const CLI::App& app) {
    const std::vector<std::string> extras = app.remaining();
    if (extras.empty()) return;
    std::vector<std::string> known;
    for (const CLI::Option* o : app.get_options())
        for (const std::string& name : o->get_lnames()) known.push_back("--" + name);
    const std::string word = extras[0].substr(0, extras[0].find('='));
    fail(Exit::usage, "{}: {} is not known here{} (fci {} --help lists the flags)", app.get_name(), word,
         did_you_mean(word, known), app.get_name());
}

int run(int argc, char** argv) {
    CLI::App app("fci: content-based routing, from scratch (a reproduction of arXiv 2603.20997)\n\n"
                 "Examples:\n"
                 "  fci train --task mqar                        train the paper's model\n"
                 "  fci train --task der --representation raw    no mixing before the router\n"
                 "  fci train --resume runs/out/NAME             continue a stopped run\n"
                 "  fci show --task der                          a few examples as pictures\n"
                 "  fci show --checkpoint RUN                    where the router looked\n"
                 "  fci analyze RUN                              ranks and cosines of a trained model\n"
                 "  fci reproduce table1 --scale smoke           run rows, compare with the paper\n"
                 "  fci report                                   which claims hold, on one page\n"
                 "  fci bench                                    the speed of each op and step\n\n"
                 "Exit codes: 0 ok, 1 internal or I/O, 2 usage or missing device,\n"
                 "            3 bad data or checkpoint, 4 differs from the record,\n"
                 "            5 NaN or Inf, 75 interrupted (resume it)\n");
    app.require_subcommand(1);
    app.set_help_flag("-h,--help", "this text; fci COMMAND --help for a command's flags; fci help --man is a man page");
    app.set_version_flag("--version", version_text, "version, commit, compiler, BLAS and GPU");
    app.name(argv[0]);

    std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty() && words[0] == "help") { // fci help train, as others have it
        words.erase(words.begin());
        if (const auto man = std::find(words.begin(), words.end(), "--man"); man != words.end()) {
            words.erase(man);
            if (!words.empty())
                fail(Exit::usage, "help --man: the man page covers all commands; leave {} out, or: fci help {}",
                     words[0], words[0]);
            fmt::print("{}", man_page());
            return static_cast<int>(Exit::ok);
        }
        words.emplace_back("--help");
    }
    // Examples are for `fci COMMAND --help`; `fci --help` lists the commands, a line each.
    const std::string word = words.empty() ? "" : words[0];
    std::vector<std::string> names;
    std::vector<std::pair<CLI::App*, std::function<Exit()>>> added;
    for (const Command* c : commands()) {
        const std::string line = c->line, whole = "fci " + word + ": " + line + "\n\nExamples:\n" + c->examples;
        CLI::App* sub = app.add_subcommand(c->name, word == c->name ? whole : line);
        added.emplace_back(sub, c->add(*sub));
        sub->allow_extras();
        check_flags(*sub);
        names.emplace_back(c->name);
    }
    names.emplace_back("help");
    const bool known = std::find(names.begin(), names.end(), word) != names.end();
    if (!known && !word.empty() && word[0] != '-')
        fail(Exit::usage, "{} is not a command{} (fci --help lists them)", word, did_you_mean(word, names));
    if (words.empty()) {
        complain("{}", wrapped(app.help(), std::min(80, terminal_width(stderr, 80))));
        return static_cast<int>(Exit::usage);
    }
    try {
        std::vector<std::string> from_back(words.rbegin(), words.rend()); // as CLI11 takes them
        app.parse(from_back);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", wrapped(app.help(), std::min(80, terminal_width(stdout, 80))));
        return static_cast<int>(Exit::ok);
    } catch (const CLI::CallForVersion& text) {
        fmt::print("{}", text.what());
        return static_cast<int>(Exit::ok);
    } catch (const CLI::ArgumentMismatch& wrong) { // "--task: 1 required mqar missing"
        const std::string flag = wrong.what();
        fail(Exit::usage, "{} needs a value (fci {} --help)", flag.substr(0, flag.find(": ")), word);
    } catch (const CLI::ParseError& wrong) {
        fail(Exit::usage, "{}{} (fci {}--help)", wrong.what(), word.empty() || known ? "" : did_you_mean(word, names),
             known ? word + " " : "");
    }
    const auto asked = std::find_if(added.begin(), added.end(), [](const auto& a) { return a.first->parsed(); });
    refuse_unknown(*asked->first);
    return static_cast<int>(asked->second());
}

// In lines as wide as the terminal; anywhere else a message stays one line.
std::string for_terminal(const std::string& message) {
    constexpr size_t name = 5; // "fci: "
    return wrapped("fci: " + message, terminal_width(stderr, 0)).substr(name);
}

// Says what is being thrown, in pieces: there may be no memory to put them together. Returns the exit code.
int complain_of_exception() {
    const auto say = [](Exit code, const char* message) {
        for (const char* part : {"fci: ", message, "\n"}) put(stderr, part);
        return static_cast<int>(code);
    };
    try {
        throw;
    } catch (const Error& e) {
        return say(e.exit, for_terminal(printable(e.what())).c_str());
    } catch (const std::bad_alloc&) {
        return say(Exit::internal,
                   "out of memory; try a smaller --batch, --length or --sequences, or raise the limit (ulimit -v)");
    } catch (const std::filesystem::filesystem_error& e) {
        const std::string why = fmt::format("{}: {}; check its name and the permissions of the folders above it",
                                            e.path1().string(), e.code().message());
        return say(Exit::internal, printable(why).c_str());
    } catch (const std::exception& e) {
        return say(Exit::internal, printable(e.what()).c_str());
    }
}

} // namespace
} // namespace fci

int main(int argc, char** argv) {
    fci::hold_standard_streams();
    fci::called_as(argv[0]);
    std::signal(SIGXFSZ, SIG_IGN); // a write beyond `ulimit -f` then fails with a message, as on a full disk
    // A library's noexcept function may throw, or give up, when there is no memory.
    std::set_terminate([] {
        if (std::current_exception()) ::_exit(fci::complain_of_exception());
        fci::put(stderr, "fci: ended where an error cannot be reported: out of memory, or a bug\n");
        ::_exit(static_cast<int>(fci::Exit::internal));
    });
    try {
        const int code = fci::run(argc, argv);
        if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
        const int error = errno; // e.g. a full disk: results must not vanish silently
        if (code != 0) return code;
        fci::fail(fci::Exit::internal, "standard output cannot be written: {}", std::strerror(error));
    } catch (...) {
        return fci::complain_of_exception();
    }
}
