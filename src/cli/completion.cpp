#include "cli/completion.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "cli/command.h"
#include "core/nearest.h"
#include "core/streams.h"
#include "study/hotpot_eval.h"
#include "study/readings.h"
#include "study/rows.h"
#include "study/verdict.h"
#include "train/provenance.h"

namespace fci {
namespace {

struct Flag {
    std::string name, help, beside;  // --name, or a positional's name
    std::vector<std::string> values; // allowed values; empty: any
    bool takes_value = true, takes_path = false;
};
struct Described {
    std::string name, line, examples;
    std::vector<Flag> flags, words; // words: the positionals
};

bool are_names(const std::vector<std::string>& words) {
    return std::all_of(words.begin(), words.end(),
                       [](const std::string& w) { return !w.empty() && w.find_first_of(" ,;") == std::string::npos; });
}

// The words between the last `open` and its `close`, split at `cut`.
std::vector<std::string> words_in(const std::string& text, char open, char close, const std::string& cut) {
    const size_t begin = text.rfind(open), end = begin == std::string::npos ? begin : text.find(close, begin);
    if (end == std::string::npos) return {};
    std::vector<std::string> words;
    for (size_t at = begin + 1; at <= end;) {
        const size_t stop = std::min(text.find(cut, at), end);
        words.push_back(text.substr(at, stop - at));
        at = stop + cut.size();
    }
    return are_names(words) ? words : std::vector<std::string>{};
}

const std::vector<std::string> shells{"bash", "zsh", "fish"};

// Names of rows, readings and scales in the runs folder; empty without that folder.
struct RunNames {
    std::vector<std::string> rows, readings, scales;
};
RunNames names_in_runs() {
    RunNames names;
    try {
        const Study study = load_study(find_runs_folder());
        std::set<std::string> seen; // rows of single readings, f2.raw@positions=none, are offered by group only
        for (const Row& r : study.rows)
            for (const std::string& word : {r.group, r.id})
                if (seen.insert(word).second) names.rows.push_back(word);
        for (const Row& r : study.variants)
            if (seen.insert(r.group).second) names.rows.push_back(r.group);
        for (const Reading& r : study.joint) names.readings.push_back(r.name);
        for (const Scale& scale : study.scales) names.scales.push_back(scale.name);
    } catch (const Error& e) {
        complain("fci completion: the names of rows are left out: {}\n", e.what());
    }
    return names;
}

// The text beside the flag in its help: the default, or a type; without the checks that CLI11 adds.
std::string beside(const CLI::Option& o) {
    const std::string type = o.get_type_name();
    return o.get_items_expected_max() == 0 ? "" : type.substr(0, std::min(type.find(":{"), type.find(":INT in")));
}

// Enumerations: as CLI11 writes a check of membership, {a,b}, or as our help does, (a | b). From a word with a number,
// transformer:N, only the part before the number.
std::vector<std::string> values_of(const CLI::Option& o, const std::string& name, const RunNames& names) {
    if (name == "rows" || name == "figure") { // the paper's figures are groups of rows
        std::vector<std::string> words =
            name == "rows" ? std::vector<std::string>{"all"} : std::vector<std::string>{"figure6", "scaling", "curves"};
        words.insert(words.end(), names.rows.begin(), names.rows.end());
        return words;
    }
    if (name == "--reading") return names.readings;
    if (name == "--scale") return names.scales;
    if (name == "--y") return quantities();
    static const std::map<std::string, std::vector<std::string>> of_name = {{"--method", hotpot_methods},
                                                                            {"--unit", hotpot_unit_names},
                                                                            {"--tokeniser", hotpot_tokenisers},
                                                                            {"--bm25", bm25_variants},
                                                                            {"shell", shells}};
    if (const auto at = of_name.find(name); at != of_name.end()) return at->second;
    std::vector<std::string> words = words_in(o.get_type_name(), '{', '}', ",");
    if (words.empty())
        if (words = words_in(o.get_description(), '(', ')', " | "); words.size() == 1) words.clear(); // (default)
    for (std::string& w : words)
        if (w.ends_with(":N")) w.pop_back();
    return words;
}

// Is the flag's value the name of a file or folder?
bool takes_path(const std::string& name) {
    static const std::set<std::string> those = {"--backbone",    "--backbone-cache", "--backbones", "--checkpoint",
                                                "--config",      "--data",           "--init-from", "--out",
                                                "--per-example", "--reading",        "--results",   "--resume",
                                                "--test-data",   "checkpoint",       "rows",        "runs",
                                                "figure"};
    return those.count(name) > 0;
}

Described describe(const Command& c, const CLI::App& app, const RunNames& names) {
    Described d{c.name, c.line, c.examples, {}, {}};
    for (const CLI::Option* o : app.get_options()) {
        const auto flag = [&](const std::string& name) {
            return Flag{name,
                        o->get_description(),
                        beside(*o),
                        values_of(*o, name, names),
                        o->get_items_expected_max() > 0,
                        takes_path(name)};
        };
        if (o->get_positional()) d.words.push_back(flag(o->get_name(true)));
        for (const std::string& word : o->get_lnames()) d.flags.push_back(flag("--" + word));
    }
    return d;
}

std::vector<Described> all_commands(const RunNames& names) {
    static std::vector<std::unique_ptr<CLI::App>> apps; // a command's functions refer to its App
    std::vector<Described> all;
    for (const Command* c : commands()) {
        apps.push_back(std::make_unique<CLI::App>(c->line, c->name));
        c->add(*apps.back());
        all.push_back(describe(*c, *apps.back(), names));
    }
    return all;
}

// Puts a backslash, or `by`, before each of these characters.
std::string escaped(std::string s, const std::string& special, const std::string& by = "\\") {
    for (size_t i = 0; i < s.size(); ++i)
        if (special.find(s[i]) != std::string::npos) s.insert(i, by), i += by.size();
    return s;
}
std::string in_quotes(const std::string& s) { // for sh
    std::string q = "'";
    for (const char c : s) q += c == '\'' ? "'\\''" : std::string(1, c);
    return q + "'";
}

std::string names_of(const std::vector<Described>& all) {
    std::string names;
    for (const Described& d : all) names += d.name + " ";
    return names + "help";
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

// Bash also splits words at : and = (COMP_WORDBREAKS) and replaces only the last part, so the earlier parts are removed
// from the offered words. Names come without quotes and backslashes; bash adds them again for file names.
const char* const bash_begin = R"(# bash completion of fci; written by: fci completion bash
_fci() {
    local -a all=()
    local word last='' values='' paths='' part=${COMP_WORDS[COMP_CWORD]}
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#all[@]} -gt 1 && -n $word ]] && [[ $word == [:=]* || ( -n $last && $last != *[!:=]* ) ]]; then
            all[${#all[@]}-1]+=$word
        else
            all+=("$word")
        fi
        last=$word
    done
    local n=${#all[@]} command=${all[1]} full=${all[${#all[@]}-1]} flag=''
    [[ $part == *[!:=]* ]] || part=
    local before=${full%"$part"} cur=$full
    if [[ $full == --*=* ]]; then
        flag=${full%%=*} cur=${full#*=}
    elif [ "$n" -gt 3 ]; then
        flag=${all[n-2]}
    fi
    local lead=${full%"$cur"}
    cur=${cur//[\"\'\\]/} before=${before//[\"\'\\]/}
    COMPREPLY=()
    case "$n $command" in
)";
const char* const bash_end = R"(    if [[ -n $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
        [[ ${COMPREPLY[*]} != "$cur" || $cur != *: ]] || COMPREPLY=()
        [[ ${COMPREPLY[*]} != *: ]] || compopt -o nospace 2>/dev/null
    fi
    if [[ ${#COMPREPLY[@]} -eq 0 && -n $paths ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null
    fi
    COMPREPLY=("${COMPREPLY[@]/#/$lead}")
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -F _fci fci ./fci
)";

std::string bash_script(const std::vector<Described>& all) {
    const std::string names = names_of(all);
    std::string s = bash_begin;
    s += "        '2 '*) values='" + names + " --help --version' ;;\n        '3 help') values='" + names +
         " --man' ;;\n    *) case \"$command $flag\" in\n";
    const auto takes = [](const std::vector<std::string>& values, bool path) {
        return (values.empty() ? "" : " values=" + in_quotes(joined(values))) + (path ? " paths=yes" : "");
    };
    std::map<std::string, std::vector<std::string>> after_flags, of_words; // values offered: their patterns
    for (const Described& d : all) {
        for (const Flag& f : d.flags)
            if (f.takes_value) after_flags[takes(f.values, f.takes_path)].push_back(in_quotes(d.name + " " + f.name));
        std::vector<std::string> words;
        bool path = false;
        for (const Flag& w : d.words) {
            words.insert(words.end(), w.values.begin(), w.values.end());
            path |= w.takes_path;
        }
        of_words[takes(words, path)].push_back(in_quotes(d.name + " ") + "*");
    }
    for (const auto& [what, patterns] : after_flags)
        s += fmt::format("        {}){} ;;\n", fmt::join(patterns, "|"), what);
    s += "        *) [[ $full == --*=* ]] || case \"$command $full\" in\n";
    for (const Described& d : all) {
        std::vector<std::string> flags;
        for (const Flag& f : d.flags) flags.push_back(f.name);
        s += fmt::format("            '{} -'*){} ;;\n", d.name, takes(flags, false));
    }
    for (const auto& [what, patterns] : of_words)
        s += fmt::format("            {}){} ;;\n", fmt::join(patterns, "|"), what);
    return s + "        esac ;;\n    esac ;;\n    esac\n" + bash_end;
}

std::string zsh_script(const std::vector<Described>& all) {
    const auto action = [](const Flag& f) {
        const std::string words = "(" + joined(f.values) + ")";
        return f.values.empty()
                   ? std::string(f.takes_path ? "_files" : " ")
                   : escaped(f.takes_path ? "{_alternative \"words:word:" + words + "\" files:file:_files}" : words,
                             ":");
    };
    std::string s = "#compdef fci\n# zsh completion of fci; written by: fci completion zsh\n_fci() {\n"
                    "    local -a commands=(\n";
    for (const Described& d : all) s += "        " + in_quotes(d.name + ":" + d.line) + "\n";
    s += "        'help:what a command does, with its flags'\n    )\n"
         "    if (( CURRENT == 2 )) || [[ CURRENT -eq 3 && $words[2] == help ]]; then\n"
         "        _describe command commands\n        return\n    fi\n"
         "    local command=$words[2]\n    shift words; (( CURRENT-- ))\n    case $command in\n";
    for (const Described& d : all) {
        s += "    " + d.name + ") _arguments";
        for (const Flag& f : d.flags) {
            std::string spec = f.name + "[" + escaped(f.help, "[]\\:") + "]";
            if (f.takes_value) spec += ":value:" + action(f);
            s += " \\\n        " + in_quotes(spec);
        }
        for (size_t i = 0; i < d.words.size(); ++i) // the last one may be repeated
            s += " \\\n        " +
                 in_quotes((i + 1 < d.words.size() ? ":" : "*:") + d.words[i].name + ":" + action(d.words[i]));
        s += " ;;\n";
    }
    return s + "    esac\n}\n"
               "if [ \"$funcstack[1]\" = _fci ]; then _fci \"$@\"; else compdef _fci fci; fi\n";
}

std::string fish_script(const std::vector<Described>& all) {
    std::string s = "# fish completion of fci; written by: fci completion fish\n"
                    "complete -c fci -f\n";
    const auto quoted = [](const std::string& text) { return "'" + escaped(text, "'\\") + "'"; };
    for (const Described& d : all)
        s += fmt::format("complete -c fci -n '__fish_use_subcommand' -f -a {} -d {}\n", d.name, quoted(d.line));
    s += "complete -c fci -n '__fish_use_subcommand' -f -a help -d 'what a command does'\n";
    s += "complete -c fci -n '__fish_seen_subcommand_from help' -f -a '" + names_of(all) + "'\n";
    const auto takes = [](const Flag& f) {
        return (f.takes_path ? " -F" : "") + (f.values.empty() ? "" : " -a '" + joined(f.values) + "'");
    };
    for (const Described& d : all) {
        const std::string seen = "complete -c fci -n '__fish_seen_subcommand_from " + d.name + "'";
        for (const Flag& w : d.words)
            if (const std::string words = takes(w); !words.empty()) s += seen + words + "\n";
        for (const Flag& f : d.flags)
            s += fmt::format("{} -l {} -d {}{}\n", seen, f.name.substr(2), quoted(f.help),
                             !f.takes_value ? "" : (f.takes_path ? " -r" : " -x") + takes(f));
    }
    return s;
}

// Text of a page: a line that begins with a point or a quote would be read as a request.
std::string roff(const std::string& text) {
    std::string s;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if ((i == 0 || text[i - 1] == '\n') && (c == '.' || c == '\'')) s += "\\&";
        s += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
    }
    return s;
}

} // namespace

std::string completion(const std::string& shell) {
    expect_one_of("fci completion:", shell, shells);
    const std::vector<Described> all = all_commands(names_in_runs());
    return shell == "bash" ? bash_script(all) : shell == "zsh" ? zsh_script(all) : fish_script(all);
}

std::string man_page() {
    const std::string version = version_text();
    std::string s =
        ".TH FCI 1 \"\" \"" + roff(version.substr(0, version.find(','))) +
        "\"\n"
        ".SH NAME\nfci \\- content\\-based routing, from scratch\n"
        ".SH SYNOPSIS\n.B fci\n.I COMMAND\n[\\fIflags\\fR]\n"
        ".SH DESCRIPTION\nTrains and measures models that choose a few positions of a sequence, and reruns the "
        "experiments of arXiv 2603.20997. Each flag is shown with its default, or with the type of its value.\n.SH "
        "COMMANDS\n";
    for (const Described& d : all_commands({})) {
        s += ".SS \"fci " + d.name + "\"\n" + roff(d.line) + "\n";
        for (const Flag& w : d.words) s += ".TP\n.I " + roff(w.name) + "\n" + roff(w.help) + "\n";
        for (const Flag& f : d.flags) {
            s += ".TP\n.BR " + roff(f.name) + " \" \\fI" + roff(f.beside) + "\\fR\"\n" + roff(f.help);
            const bool said = f.values.empty() || f.help.find(f.values[0]) != std::string::npos;
            s += (said ? "" : roff(fmt::format(" ({})", fmt::join(f.values, " | ")))) + "\n";
        }
        s += ".PP\nExamples:\n.nf\n" + roff(d.examples) + ".fi\n";
    }
    return s +
           ".SH EXIT STATUS\n0 ok, 1 internal or I/O, 2 usage or missing device, 3 bad data or checkpoint, 4 differs "
           "from the record, 5 NaN or Inf, 75 interrupted (resume it)\n"
           ".SH FILES\n.TP\n.I runs/*.toml\nthe paper's rows; looked for in the current folder, beside the program or "
           "above it, or in share/fci of the installation\n.TP\n.I runs/out\nthe output of runs\n";
}

namespace {

std::function<Exit()> add_completion(CLI::App& app) {
    const auto shell = std::make_shared<std::string>();
    app.add_option("shell", *shell, "bash, zsh or fish")->required();
    return [shell] {
        fmt::print("{}", completion(*shell));
        return Exit::ok;
    };
}

} // namespace

namespace command_entries {

extern const Command completion{"completion", "print a script that lets a shell complete commands and flags",
                                "  source <(fci completion bash)\n"
                                "  fci completion zsh >\"${fpath[1]}/_fci\"\n"
                                "  fci completion fish >~/.config/fish/completions/fci.fish\n",
                                add_completion};

} // namespace command_entries

} // namespace fci
