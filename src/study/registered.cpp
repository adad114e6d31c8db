#include "study/registered.h"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>

#include "core/files.h"
#include "core/nearest.h"
#include "study/controls.h"
#include "study/layout.h"
#include "study/toml_file.h"

namespace fci {
namespace {

bool contains(const std::vector<std::string>& v, const std::string& s) {
    return std::find(v.begin(), v.end(), s) != v.end();
}

bool matches(const std::string& pattern, const std::string& name) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

struct Reader : TomlFile {
    const std::vector<Reading>& readings; // of the set

    void expect_word(const toml::node& at, const char* what, const std::string& word,
                     const std::vector<std::string>& allowed) const {
        expect_one_of(fmt::format("{}:{}: {}", file, at.source().begin.line, what), word, allowed, Exit::usage);
    }

    Registered::Entry entry(const toml::node& node) const {
        const toml::array& parts = array("entries", node);
        if (parts.size() != 4)
            refuse(node, "an entry is [readings, expected, seen, why]; this one has {} parts", parts.size());
        std::string words[4];
        for (size_t i = 0; i < 4; ++i) words[i] = text("entries", *parts.get(i));
        Registered::Entry e{{words[1], words[2], words[3]}, {}, words[0], static_cast<int>(node.source().begin.line)};
        std::vector<std::string> names;
        for (const Reading& r : readings) names.push_back(r.name);
        if (std::none_of(names.begin(), names.end(), [&](const auto& n) { return matches(e.readings, n); }))
            refuse(node, "{}: no reading of the set has this name{}", e.readings, did_you_mean(e.readings, names));
        expect_word(node, "expected:", e.expect, {"routes", "fails", "open"});
        expect_word(node, "seen:", e.seen, {"unseen", "L 48", "L 128", "L 512"});
        if (e.why.empty() || e.why.find('\n') != std::string::npos) refuse(node, "why: expected a reason in one line");
        return e;
    }

    void add(const toml::table& t, std::vector<Registered::Entry>& all) const {
        std::vector<std::string> rows;
        for (const auto& [key, node] : t) {
            expect_word(node, "[[registered]]", std::string(key.str()), {"rows", "entries"});
            array(std::string(key.str()), node);
        }
        if (!t.get("rows") || !t.get("entries")) refuse(t, "a [[registered]] needs rows and entries");
        for (const toml::node& row : *t.get_as<toml::array>("rows")) rows.push_back(text("rows", row));
        for (const toml::node& node : *t.get_as<toml::array>("entries")) {
            all.push_back(entry(node));
            all.back().rows = rows;
        }
    }
};

} // namespace

bool Registered::Entry::covers(const std::string& row, const Reading& reading) const {
    return contains(rows, row) && matches(readings, reading.name);
}

std::vector<std::string> Registered::rows() const {
    std::vector<std::string> all;
    for (const Entry& e : entries)
        for (const std::string& row : e.rows)
            if (!contains(all, row)) all.push_back(row);
    return all;
}

const Expectation* Registered::find(const std::string& row, const std::string& reading) const {
    for (const Reading& r : readings)
        if (r.name == reading)
            for (const Entry& e : entries)
                if (e.covers(row, r)) return &e;
    return nullptr;
}

Registered read_registered(const std::string& toml, const std::string& file, const std::vector<Reading>& joint) {
    Registered all;
    all.file = file;
    const toml::table doc = parse_toml(toml, file);
    const Reader reader{{file}, all.readings};
    const auto word = [&](const char* key) {
        const toml::node* node = doc.get(key);
        if (!node) fail(Exit::usage, "{}: {} = \"...\" is missing", file, key);
        return reader.text(key, *node);
    };
    all.set = word("set"), all.scale = word("scale");
    std::vector<std::string> sets;
    for (const Reading& r : joint) {
        sets.push_back(r.set);
        if (r.set == all.set) all.readings.push_back(r);
    }
    if (all.set.empty() || all.readings.empty())
        fail(Exit::usage, "{}: set = \"{}\": there is no such set of readings{}", file, all.set,
             did_you_mean(all.set, sets));
    for (const auto& [k, node] : doc) {
        const std::string key(k.str());
        if (key == "before")
            for (const toml::node& hash : reader.array(key, node)) {
                all.before.push_back(reader.text(key, hash));
                if (all.before.back().size() != 16 ||
                    all.before.back().find_first_not_of("0123456789abcdef") != std::string::npos)
                    reader.refuse(hash, "before: \"{}\" is not the hash of a run, 16 hex digits", all.before.back());
            }
        else if (key == "arithmetic")
            for (const toml::node& row : reader.array(key, node)) all.arithmetic.push_back(reader.text(key, row));
        else if (key == "registered")
            for (const toml::node& t : reader.array("[[registered]]", node))
                reader.add(reader.sub_table("registered", t), all.entries);
        else if (key != "set" && key != "scale")
            reader.refuse(node, "{}: unknown key, expected set, scale, before, arithmetic or [[registered]]", key);
    }
    for (const std::string& row : all.arithmetic)
        if (!contains(all.rows(), row))
            fail(Exit::usage, "{}: arithmetic: nothing is registered for {}{}", file, row,
                 did_you_mean(row, all.rows()));
    std::vector<bool> used(all.entries.size());
    for (const std::string& row : all.rows())
        for (const Reading& r : all.readings) {
            size_t i = 0;
            while (i < all.entries.size() && !all.entries[i].covers(row, r)) ++i;
            if (i == all.entries.size())
                fail(Exit::usage, "{}: no entry says what to expect of the row {} under {}", file, row, r.name);
            used[i] = true;
        }
    for (size_t i = 0; i < used.size(); ++i)
        if (!used[i])
            fail(Exit::usage, "{}:{}: entries above this one already cover all that it covers", file,
                 all.entries[i].line);
    return all;
}

Registered load_registered(const Study& study) {
    const std::string file = study.folder + "/registered.toml";
    if (!std::filesystem::exists(file)) fail(Exit::usage, "{}: no such file, so nothing is registered", file);
    Registered all = read_registered(read_file(file), file, study.joint);
    std::vector<std::string> known;
    for (const Row& r : study.rows)
        if (r.needs.empty()) known.push_back(r.label());
    for (const Registered::Entry& e : all.entries)
        for (const std::string& row : e.rows)
            if (!contains(known, row))
                fail(Exit::usage, "{}:{}: {}: no such row{}", file, e.line, row, did_you_mean(row, known));
    study.scale(all.scale);
    return all;
}

std::string outcome_of(double routing, double chance) {
    return routing >= 95 ? "routes" : routing <= chance + 3 ? "fails" : "between";
}

std::vector<Cell> cells_of(const Registered& all, const Study& study) {
    std::vector<Cell> cells;
    std::map<std::string, size_t> by_run;
    for (const std::string& label : all.rows()) {
        const auto row =
            std::find_if(study.rows.begin(), study.rows.end(), [&](const Row& r) { return r.label() == label; });
        for (const Reading& reading : all.readings)
            for (const Case& c : plan({under(*row, reading)}, study.scale(all.scale))) {
                const auto [at, added] = by_run.try_emplace(family_hash(c.options), cells.size());
                if (added)
                    cells.push_back({c, *all.find(label, reading.name), {}});
                else
                    cells[at->second].also.push_back(c.row.label());
            }
    }
    return cells;
}

std::optional<Came> came_of(const Registered& all, const Cell& cell, const Results& own, const Results& recorded,
                            int64_t seeds, ControlsOfRows& controls) {
    std::vector<const Result*> results = own.of_seeds(cell.of.options, seeds);
    if (results.empty()) results = recorded.of_seeds(cell.of.options, seeds);
    std::vector<double> values, chances;
    Came came;
    came.before = true;
    for (const Result* r : results) {
        came.before &= contains(all.before, r->hash);
        if (!r->metrics.at_k || !r->chance.at_k) continue;
        const std::optional<Chance>& exact = controls.chance(cell.of.options);
        values.push_back(*r->metrics.at_k), chances.push_back(exact ? exact->at_k : *r->chance.at_k);
    }
    if (values.empty()) return std::nullopt;
    came.ours = summarise(values, 0).mean, came.chance = summarise(chances, 0).mean;
    came.seeds = static_cast<int>(values.size()), came.outcome = outcome_of(came.ours, came.chance);
    return came;
}

bool is_wrong(const Cell& cell, const Came& came) {
    return !came.before && cell.expected.expect != "open" && came.outcome != cell.expected.expect;
}

std::string registered_text(const Registered& all, const std::vector<Cell>& cells, const std::vector<std::string>& rows,
                            const Results& own, const Results& recorded, const TableOptions& o) {
    Cells lines{{"row under a reading", "expected", "seen", "ours (seeds)", "chance", "outcome", "why"}};
    if (o.format == "text") lines[0].pop_back(); // too long for a screen
    struct Count {
        int ran = 0, forecast = 0, correct = 0;
    } seen, unseen;
    int shown = 0, before = 0;
    ControlsOfRows controls;
    for (const Cell& cell : cells) {
        if (!rows.empty() && !contains(rows, cell.of.row.base_label())) continue;
        ++shown;
        const std::optional<Came> came = came_of(all, cell, own, recorded, o.seeds, controls);
        std::string ours = "not run", chance = "-", outcome = "-";
        const bool was_before = came && came->before;
        if (came) {
            const bool correct = came->outcome == cell.expected.expect, open = cell.expected.expect == "open";
            ours = fmt::format("{:.1f} ({})", came->ours, came->seeds), chance = fmt::format("{:.1f}", came->chance);
            outcome = came->outcome + (open ? "" : correct ? ", as expected" : ", NOT as expected");
            if (was_before) {
                ++before;
            } else {
                Count& count = cell.expected.seen == "unseen" ? unseen : seen;
                ++count.ran, count.forecast += !open, count.correct += correct;
            }
        } else if (!is_data(o.format))
            continue;
        std::string name = cell.of.row.label();
        if (!cell.also.empty()) name += fmt::format(" and {} more", cell.also.size());
        lines.push_back({name, cell.expected.expect, was_before ? "recorded before" : cell.expected.seen, ours, chance,
                         outcome, cell.expected.why});
        if (o.format == "text") lines.back().pop_back();
    }
    if (is_data(o.format)) return in_format(lines, o.format);
    const std::string table = in_format(lines, o.format, o.width);
    std::string s;
    const auto counted = [](const Count& c) {
        return fmt::format("{} ran, {} of {} forecasts right, {} open", c.ran, c.correct, c.forecast,
                           c.ran - c.forecast);
    };
    s += fmt::format("{} runs are registered in {}, at scale {}; {} of them were recorded before and are no forecasts\n"
                     "unseen: {}\nseen at some size: {}\n",
                     shown, all.file, all.scale, before, counted(unseen), counted(seen));
    s += "routes: 95 or more; fails: no more than 3 above chance; between: neither\n";
    return table + sentences_in(s, o.format, o.width);
}

} // namespace fci
