// The commands, one per line, in the order of `fci --help`.
#define FCI_COMMANDS(COMMAND)                                                                                          \
    COMMAND(demo)                                                                                                      \
    COMMAND(train)                                                                                                     \
    COMMAND(eval)                                                                                                      \
    COMMAND(route)                                                                                                     \
    COMMAND(show)                                                                                                      \
    COMMAND(analyze)                                                                                                   \
    COMMAND(generate)                                                                                                  \
    COMMAND(features)                                                                                                  \
    COMMAND(bench)                                                                                                     \
    COMMAND(rows)                                                                                                      \
    COMMAND(sweep)                                                                                                     \
    COMMAND(reproduce)                                                                                                 \
    COMMAND(table)                                                                                                     \
    COMMAND(report)                                                                                                    \
    COMMAND(plot)                                                                                                      \
    COMMAND(completion)

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
                             const std::vector<std::string>& keys, const std::vector<std::string>& but) {
    const auto in = [](const auto& list, const auto& x) {
        return std::find(list.begin(), list.end(), x) != list.end();
    };
    for (const Option& o : table(options)) {
        if ((!in(groups, o.group) && !in(keys, o.key)) || in(but, o.key)) continue;
        std::vector<std::string> allowed = o.allowed;
        if (o.key == "task") std::erase(allowed, "other"); // a folder of --data sets this itself
        const std::string key = o.key,
                          help = o.help + (allowed.empty() ? "" : fmt::format(" ({})", fmt::join(allowed, " | ")));
        static const char* const names[] = {"task", "model", "training", "run"};
        CLI::Option* flag = nullptr;
        const bool flag_alone = std::holds_alternative<bool*>(o.value);
        if (flag_alone && !lists)
            flag = app.add_flag_function(
                o.flag(), [this, key](int64_t n) { given.emplace_back(key, n > 0 ? "true" : "false"); }, help);
        else {
            flag = app.add_option_function<std::string>(
                o.flag(), [this, key](const std::string& v) { given.emplace_back(key, v); }, help);
            const std::string value = o.word(); // shows the default instead of a type
            flag->type_name(value.empty() ? "TEXT" : value);
            if (flag_alone) flag->expected(0, 1)->default_str("true");
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

void check_flags(CLI::App& app) {
    const auto yes_or_no = [](const std::string& s) -> std::string {
        for (const char* word : {"true", "false", "yes", "no", "on", "off", "1", "0"})
            if (s == word) return "";
        return s + ": expected true, false or nothing";
    };
    for (CLI::Option* o : app.get_options())
        if (o->get_items_expected_max() == 0 && o != app.get_help_ptr()) o->check(yes_or_no);
}

void add_backbone_flags(CLI::App& app, RunOptions& o) {
    CLI::Option* const flags[] = {
        app.add_option("--backbone", o.backbone, "folder of the model's backbone, if it has moved"),
        app.add_option("--backbone-cache", o.backbone_cache,
                       "folder for its cached hidden states; none: recomputed each time")
            ->type_name(o.backbone_cache)};
    for (CLI::Option* flag : flags) {
        flag->check(not_empty());
        if (CLI::Option* checkpoint = app.get_option_no_throw("--checkpoint")) flag->needs(checkpoint);
    }
}

CLI::Option* add_precision(CLI::App& app, std::string& name) {
    const std::vector<std::string> names(std::begin(precision_names), std::end(precision_names));
    return app.add_option("--precision", name, "on a GPU: precision of matrix products, as in fci train")
        ->check(CLI::IsMember(names));
}

CLI::Option* add_checkpoint(CLI::App& app, const std::string& names, std::string& path) {
    return app.add_option(names, path, "a run's folder, or its checkpoint.safetensors")->check(not_empty());
}

const CLI::Validator& not_empty() {
    static const CLI::Validator v([](std::string& s) { return s.empty() ? "expected a value" : ""; }, "");
    return v;
}

} // namespace fci
