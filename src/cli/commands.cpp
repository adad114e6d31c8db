// The commands that there are, a line each, in the order of `fci --help`.
#define FCI_COMMANDS(COMMAND)                                                                                          \
    COMMAND(train)                                                                                                     \
    COMMAND(eval)                                                                                                      \
    COMMAND(show)                                                                                                      \
    COMMAND(analyze)                                                                                                   \
    COMMAND(generate)                                                                                                  \
    COMMAND(bench)                                                                                                     \
    COMMAND(rows)                                                                                                      \
    COMMAND(sweep)                                                                                                     \
    COMMAND(reproduce)                                                                                                 \
    COMMAND(table)                                                                                                     \
    COMMAND(report)                                                                                                    \
    COMMAND(plot)

#include "cli/command.h"

namespace fci {

#define FCI_COMMAND(name) extern const Command name;
#define FCI_ADDRESS(name) &name,

namespace command_entries {
FCI_COMMANDS(FCI_COMMAND)
static const std::vector<const Command*> all{FCI_COMMANDS(FCI_ADDRESS)};
} // namespace command_entries

const std::vector<const Command*>& commands() { return command_entries::all; }

void GivenOptions::add_flags(CLI::App& app, const std::vector<Option::Group>& groups,
                             const std::vector<std::string>& keys) {
    for (const Option& o : table(options)) {
        if (std::find(groups.begin(), groups.end(), o.group) == groups.end() &&
            std::find(keys.begin(), keys.end(), o.key) == keys.end())
            continue;
        std::vector<std::string> allowed = o.allowed;
        if (o.key == "task") std::erase(allowed, "other"); // a folder of --data says that of itself
        const std::string key = o.key,
                          help = o.help + (allowed.empty() ? "" : fmt::format(" ({})", fmt::join(allowed, " | ")));
        static const char* const names[] = {"task", "model", "training", "run"};
        CLI::Option* flag = nullptr;
        if (std::holds_alternative<bool*>(o.value))
            flag = app.add_flag_function(
                o.flag(), [this, key](int64_t n) { given.emplace_back(key, n > 0 ? "true" : "false"); }, help);
        else {
            flag = app.add_option_function<std::string>(
                o.flag(), [this, key](const std::string& v) { given.emplace_back(key, v); }, help);
            const std::string value = o.word(); // the default, where other programs print a type
            flag->type_name(value.empty() ? "TEXT" : value);
        }
        flag->group(names[o.group])->take_last();
    }
}

void GivenOptions::set() {
    const std::vector<Option> all = table(options);
    for (const auto& [key, word] : given)
        for (const Option& o : all)
            if (o.key == key) set_from_text(o, word);
}

const CLI::Validator& not_empty() {
    static const CLI::Validator v([](std::string& s) { return s.empty() ? "a value is wanted here" : ""; }, "");
    return v;
}

} // namespace fci
