#include "study/rows.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/files.h"
#include "core/nearest.h"
#include "study/analysis.h"
#include "study/hotpot_eval.h"
#include "study/plan.h"
#include "study/toml_file.h"
#include "study/verdict.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> row_keys{"id", "where", "reading", "paper", "note", "needs", "measure", "seeds"};
const std::vector<std::string> word_keys{"task", "representation", "router"};

bool contains(const std::vector<std::string>& v, const std::string& s) {
    return std::find(v.begin(), v.end(), s) != v.end();
}

void set_words(Row& row) {
    const Options& o = row.settings.values;
    row.task = o.task.task, row.router = o.model.router;
    row.representation = learns(o) ? o.model.representation : "-";
    if (o.model.has_backbone()) {
        const bool bridge = Mixing(o.model.representation).blocks() > 0;
        row.representation = o.model.backbone + " frozen" + (bridge ? " + " + row.representation : "");
    }
    row.measured = task_of(o.task).is_text ? Measured::on_file_too : Measured::here;
}

// Reads a file of rows or of scales.
struct Reader : TomlFile {
    void read_paper(Row& row, const toml::node& node) const {
        for (const auto& [key, value] : sub_table("paper", node)) {
            const std::string quantity(key.str()), written = text(quantity, value);
            if (!contains(quantities(), quantity))
                refuse(value, "{}: no such quantity{}", quantity, did_you_mean(quantity, quantities()));
            if (!parse_paper(written))
                refuse(value, "{} = \"{}\": a value is written x, ~x, <=x, >x or a-b", quantity, written);
            row.paper.emplace_back(quantity, written);
        }
        // Sorts quantities by the paper's columns, not by their order in the file.
        const auto rank = [](const auto& q) {
            return std::find(quantities().begin(), quantities().end(), q.first) - quantities().begin();
        };
        std::sort(row.paper.begin(), row.paper.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    }

    // Sets a value, or a list of values: learning rates belong to one row, other options make one row per value.
    void set_each(std::vector<Row>& rows, const std::string& key, const toml::node& node) const {
        if (!node.is_array()) {
            for (Row& row : rows) set(row.settings, key, node, row_keys);
            return;
        }
        if (node.as_array()->empty()) refuse(node, "{}: expected at least one value", key);
        std::vector<Row> product;
        std::set<std::string> seen;
        const auto expect_new = [&](const toml::node& value, const std::string& word) {
            if (!seen.insert(word).second) refuse(value, "{}: {} is given twice", key, word);
        };
        for (const Row& base : rows) {
            seen.clear();
            if (rows.size() * node.as_array()->size() > 4096)
                refuse(node, "{}: the lists make more than 4096 rows", key);
            Row with_all = base;
            for (const toml::node& value : *node.as_array()) {
                Row row = base;
                const std::string word = set(row.settings, key, value, row_keys);
                expect_new(value, word);
                if (row.settings.keys.back() == "learning_rate") {
                    with_all.settings = row.settings;
                    with_all.learning_rates.push_back(row.settings.values.train.learning_rate);
                    continue;
                }
                const bool first = row.id.find('@') == std::string::npos;
                row.id += fmt::format("{}{}={}", first ? '@' : ',', row.settings.keys.back(), word);
                product.push_back(std::move(row));
            }
            if (!with_all.learning_rates.empty()) product.push_back(std::move(with_all));
        }
        rows = std::move(product);
    }

    std::vector<Row> read_row(const toml::table& t, const std::string& group) const {
        Row row;
        row.group = group, row.file = file, row.line = static_cast<int>(t.source().begin.line);
        const auto word = [&](const char* key, std::string& to) {
            if (const toml::node* node = t.get(key)) to = text(key, *node);
        };
        word("id", row.id), word("where", row.where), word("reading", row.reading), word("note", row.note);
        word("needs", row.needs), word("measure", row.measure);
        if (row.id.empty()) refuse(t, "a [[row]] needs an id");
        const std::string at = fmt::format("{}:{}: row {}: ", file, row.line, row.id);
        if (!row.needs.empty()) expect_one_of(at + "needs =", row.needs, {"weights", "hotpotqa"});
        if (!row.measure.empty()) expect_one_of(at + "measure =", row.measure, analysis_names());
        if (const toml::node* seeds = t.get("seeds")) {
            row.seeds = seeds->is_integer() ? seeds->value<int64_t>().value() : 0;
            if (row.seeds < 1 || row.seeds > 1000) refuse(*seeds, "seeds: expected an integer from 1 to 1000");
        }
        if (const toml::node* paper = t.get("paper")) read_paper(row, *paper);
        std::vector<std::pair<std::string, const toml::node*>> options; // in the order of the file
        for (const auto& [key, node] : t)
            if (!contains(row_keys, std::string(key.str()))) options.emplace_back(key.str(), &node);
        std::stable_sort(options.begin(), options.end(), [](const auto& a, const auto& b) {
            const toml::source_position x = a.second->source().begin, y = b.second->source().begin;
            return std::pair(x.line, x.column) < std::pair(y.line, y.column);
        });
        std::vector<Row> all{row};
        for (const auto& [name, at_key] : options) {
            const toml::node& node = *at_key;
            if (row.needs.empty())
                set_each(all, name, node);
            else if (!contains(word_keys, name))
                refuse(node, "{}: a row that needs {} is not run, so it may only set {}", name, row.needs,
                       fmt::join(word_keys, ", "));
        }
        for (Row& r : all) set_words(r);
        if (row.needs.empty()) {
            for (Row& r : all)
                if (r.settings.values.model.has_backbone()) r.needs = "weights";
            return all;
        }
        set_words(row);
        word("task", row.task), word("representation", row.representation), word("router", row.router);
        const bool by_index = row.needs == row.task && contains(hotpot_methods, row.router);
        row.measured = by_index ? Measured::by_index : Measured::here;
        return {row};
    }

    // The rows of a [[readings]] table: each of its rows with each value of each of its options.
    std::vector<Row> read_readings(const toml::table& t, const std::vector<Row>& rows, const std::string& group) const {
        const toml::node* named = t.get("rows");
        if (!named) refuse(t, "[[readings]] needs rows");
        std::vector<std::string> known;
        for (const Row& r : rows) known.push_back(r.id);
        std::vector<Row> all;
        for (const toml::node& node : array("rows", *named)) {
            const std::string id = text("rows", node);
            const auto base = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.id == id; });
            if (base == rows.end()) refuse(node, "{}: no such row{}", id, did_you_mean(id, known));
            for (const auto& [key, values] : t) {
                if (key.str() == "rows") continue;
                for (const toml::node& value : array(std::string(key.str()), values)) {
                    Row row = *base;
                    if (row.only_listed()) refuse(value, "{} needs {}: it is not run under any reading", id, row.needs);
                    const std::string word = set(row.settings, std::string(key.str()), value, {"rows"}, false);
                    set_words(row);
                    row.id += "@" + row.settings.keys.back() + "=" + word;
                    row.group = group, row.file = file, row.line = static_cast<int>(value.source().begin.line);
                    all.push_back(row);
                }
            }
        }
        return all;
    }

    std::vector<Scale> read_scales(const toml::table& doc) const {
        const std::vector<std::string> tasks = task_names();
        std::vector<Scale> scales;
        for (const auto& [name, node] : doc) {
            Scale scale;
            scale.name = name.str();
            for (const auto& [key, value] : sub_table(scale.name, node)) {
                const std::string word(key.str());
                if (word == "learning_rates") {
                    for (const toml::node& rate : array(word, value)) {
                        if (!rate.is_number()) refuse(rate, "learning_rates: expected numbers");
                        scale.learning_rates.push_back(rate.value<double>().value());
                    }
                } else if (value.is_table()) {
                    if (!contains(tasks, word)) refuse(value, "{}: no such task{}", word, did_you_mean(word, tasks));
                    Settings s;
                    for (const auto& [inner, x] : *value.as_table()) set(s, std::string(inner.str()), x, {});
                    scale.tasks.emplace_back(word, s);
                } else
                    set(scale.any, word, value, {"learning_rates"});
            }
            if (scale.learning_rates.empty()) refuse(node, "{}: a scale needs learning_rates", scale.name);
            scales.push_back(scale);
        }
        return scales;
    }
};

void refuse_twice(const std::vector<Row>& rows) {
    std::set<std::string> seen;
    for (const Row& r : rows)
        if (!seen.insert(r.label()).second)
            fail(Exit::usage, "{}:{}: two rows have the id {}; give the second a reading = \"...\"", r.file, r.line,
                 r.label());
}

} // namespace

std::vector<Row> read_rows(const std::string& text, const std::string& path, const std::vector<Row>& known) {
    std::vector<Row> rows;
    const Reader reader{{path}};
    const toml::table doc = parse_toml(text, path);
    const std::string group = fs::path(path).stem().string();
    for (const auto& [key, node] : doc) {
        const std::string name(key.str());
        if (name == "joint") continue; // study/readings.h
        if (name != "row" && name != "readings")
            reader.refuse(node, "{}: unknown key, expected [[row]], [[readings]] or [[joint]]", name);
        for (const toml::node& entry : reader.array("[[" + name + "]]", node)) {
            const toml::table& t = reader.sub_table(name, entry);
            for (Row& r : name == "row" ? reader.read_row(t, group) : reader.read_readings(t, known, group))
                rows.push_back(std::move(r));
        }
    }
    return rows;
}

const Scale& Study::scale(const std::string& name) const {
    std::vector<std::string> names;
    for (const Scale& s : scales) names.push_back(s.name);
    expect_one_of("--scale", name, names);
    return scales[std::find(names.begin(), names.end(), name) - names.begin()];
}

namespace {

const std::string grids = "runs/out/sweeps"; // folder

std::vector<std::string> grid_names() {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(grids, error))
        if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
    return names;
}

} // namespace

std::string grid_file(const std::string& name) { return grids + "/" + name + ".toml"; }

std::vector<Row> Study::select(const std::vector<std::string>& words) const {
    std::vector<Row> chosen;
    std::set<std::string> seen;
    const auto take = [&](const Row& r) {
        if (seen.insert(r.label()).second) chosen.push_back(r);
    };
    for (std::string word : words) {
        const auto names = [&](const Row& r) { return word == r.id || word == r.group; };
        if (std::none_of(rows.begin(), rows.end(), names) && std::none_of(variants.begin(), variants.end(), names) &&
            fs::exists(grid_file(word)))
            word = grid_file(word);
        if (const std::string file = folder + "/" + word + ".toml";
            word.find('/') != std::string::npos && fs::exists(file))
            word = file; // own/text
        if (word.ends_with(".toml")) {
            bool found = false;
            std::error_code error;
            for (const auto* from : {&rows, &variants, &own})
                for (const Row& r : *from)
                    if (fs::equivalent(r.file, word, error)) take(r), found = true;
            if (found) continue;
            std::vector<Row> more = read_rows(read_file(word), word, rows);
            refuse_twice(more);
            if (more.empty()) fail(Exit::usage, "{}: there is no [[row]] in it", word);
            for (Row& r : more) {
                r.foreign = r.by_file = true;
                take(r);
            }
            continue;
        }
        if (const std::string grid = grid_file(word.substr(0, word.find('@'))); fs::exists(grid)) { // one row of a grid
            const std::vector<Row> its = select({grid});
            const auto row = std::find_if(its.begin(), its.end(), [&](const Row& r) { return r.label() == word; });
            if (row == its.end()) {
                std::vector<std::string> names;
                for (const Row& r : its) names.push_back(r.label());
                fail(Exit::usage, "{}: no such row in {}{}", word, grid, did_you_mean(word, names));
            }
            take(*row);
            continue;
        }
        if (const size_t at = word.rfind('@'); at != std::string::npos && word.find('=', at) == std::string::npos) {
            for (const Row& r : under(select({word.substr(0, at)}), select_readings(joint, {word.substr(at + 1)})))
                take(r);
            continue;
        }
        std::vector<std::string> known = grid_names();
        known.emplace_back("all");
        bool found = word == "all";
        for (const auto* from : {&rows, &variants, &own})
            for (const Row& r : *from) {
                const std::string group = from == &own ? "own/" + r.group : r.group;
                if (word == r.id || word == group || (word == "all" && from == &rows)) take(r), found = true;
                known.push_back(r.id), known.push_back(group);
            }
        if (!found)
            fail(Exit::usage, "{}: no such row or group{} (fci rows lists them)", word, did_you_mean(word, known));
    }
    return chosen;
}

Row under(const Row& row, const Reading& reading) {
    if (row.only_listed()) return row;
    const Settings s = reading.of_task(row.settings.values.task);
    Row changed = row;
    for (const std::string& key : s.keys)
        if (row.settings.has(key) && row.settings.text(key) != s.text(key))
            fail(Exit::usage, "{}:{}: the row {} sets {} = {}, and the reading {} ({}:{}) sets {}", row.file, row.line,
                 row.label(), key, row.settings.text(key), reading.name, reading.file, reading.line, s.text(key));
        else if (!row.settings.has(key))
            changed.settings.keys.push_back(key);
    s.apply(changed.settings.values);
    set_words(changed);
    changed.id += "@" + reading.name, changed.base = row.id, changed.under = reading.word;
    return changed;
}

std::vector<Row> under(const std::vector<Row>& rows, const std::vector<Reading>& readings) {
    std::vector<Row> all;
    std::set<std::string> seen;
    for (const Reading& reading : readings)
        for (const Row& row : rows)
            if (Row r = under(row, reading); seen.insert(r.label()).second) all.push_back(std::move(r));
    return all;
}

std::string find_runs_folder() {
    const auto holds_rows = [](const fs::path& p) { return fs::exists(p / "scales.toml"); };
    if (holds_rows("runs")) return "runs";
    std::error_code error;
    for (fs::path p = fs::read_symlink("/proc/self/exe", error).parent_path(); !p.empty(); p = p.parent_path()) {
        for (const char* runs : {"runs", "share/fci/runs"}) // make install uses the second
            if (holds_rows(p / runs)) return (p / runs).string();
        if (p == p.root_path()) break;
    }
    fail(Exit::usage, "the paper's rows were not found: no runs/scales.toml in this folder, nor above the program; "
                      "start fci in its repository, or install it");
}

namespace {

std::vector<std::string> toml_files(const std::string& folder) {
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
        if (entry.path().extension() == ".toml") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace

Study load_study(const std::string& folder) {
    Study study;
    study.folder = folder;
    for (const std::string& file : toml_files(folder)) {
        const std::string name = fs::path(file).filename().string();
        if (name == "scales.toml")
            study.scales = Reader{{file}}.read_scales(parse_toml(read_file(file), file));
        else if (name != "readings.toml" && name != "registered.toml" && name != "claims.toml" && name != "order.toml")
            for (Row& r : read_rows(read_file(file), file, {})) study.rows.push_back(std::move(r));
    }
    refuse_twice(study.rows);
    if (const std::string file = folder + "/readings.toml"; fs::exists(file)) {
        study.variants = read_rows(read_file(file), file, study.rows);
        study.joint = read_joint(read_file(file), file);
    }
    for (const std::string& file : toml_files(folder + "/own"))
        for (Row& r : read_rows(read_file(file), file, study.rows)) {
            r.foreign = true;
            study.own.push_back(std::move(r));
        }
    refuse_twice(study.own);
    return study;
}

} // namespace fci
