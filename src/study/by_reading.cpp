#include <algorithm>

#include "study/layout.h"
#include "study/report.h"

namespace fci {
namespace {

std::string reading_of(const Row& row) { return row.under.empty() ? "(none)" : row.under; }

// "99.8 [6.1] (3)": ours, chance, seeds.
std::string cell_text(const Line& l) {
    const Summary& o = l.stopped_after ? l.stopped : l.ours;
    if (o.seeds + o.without == 0) return l.ran || l.stopped_after ? "no value" : "";
    const std::string number = o.seeds ? fmt::format("{:.{}f}", o.mean, l.quantity == "cosine_gap" ? 3 : 1) : "none";
    return fmt::format("{}{} ({})", number, o.chance ? fmt::format(" [{:.1f}]", *o.chance) : "", o.seeds + o.without) +
           (l.stopped_after ? fmt::format(" after {}", l.stopped_after) : "");
}

std::string data(const std::vector<const Line*>& lines, const std::string& format) {
    Cells cells{{"reading", "learning_rate", "row", "what", "ours", "seeds", "chance", "stopped_after"}};
    for (const Line* l : lines) {
        const auto number = [&](bool there, double x) { return there ? fmt::format("{:.6g}", x) : ""; };
        const Summary& ours = l->stopped_after ? l->stopped : l->ours;
        cells.push_back({reading_of(l->of.row), l->of.learning_rate ? fmt::format("{}", *l->of.learning_rate) : "",
                         l->of.row.base_label(), l->quantity, number(ours.seeds > 0, ours.mean),
                         std::to_string(ours.seeds + ours.without),
                         number(ours.chance.has_value(), ours.chance.value_or(0)),
                         l->stopped_after ? std::to_string(l->stopped_after) : ""});
    }
    return format == "csv" ? csv_lines(cells)
                           : json_lines(cells, {"learning_rate", "ours", "seeds", "chance", "stopped_after"});
}

} // namespace

std::string by_reading_text(const std::vector<Line>& lines, const TableOptions& o) {
    std::vector<const Line*> firsts; // each case's first quantity: routing if it has any
    const auto same_case = [](const Line& a, const Line& b) {
        return a.of.row.label() == b.of.row.label() && a.of.learning_rate == b.of.learning_rate;
    };
    for (const Line& l : lines)
        if (l.of.row.needs.empty() && !l.on && (firsts.empty() || !same_case(*firsts.back(), l))) firsts.push_back(&l);
    if (is_data(o.format)) return data(firsts, o.format);

    std::vector<std::string> columns, empty;
    std::vector<std::pair<std::string, std::string>> heads; // reading, rate
    const auto add = [](auto& list, const auto& x) {
        if (std::find(list.begin(), list.end(), x) == list.end()) list.push_back(x);
    };
    for (const Line* l : firsts) {
        if (l->ran || l->stopped_after) add(columns, l->of.row.base_label());
        add(heads, std::pair(reading_of(l->of.row), l->of.learning_rate ? rate_text(*l->of.learning_rate) : "-"));
    }
    for (const Line* l : firsts)
        if (std::find(columns.begin(), columns.end(), l->of.row.base_label()) == columns.end())
            add(empty, l->of.row.base_label());
    Cells cells{{"reading", "lr"}};
    cells[0].insert(cells[0].end(), columns.begin(), columns.end());
    for (const auto& [reading, rate] : heads) {
        std::vector<std::string> line{reading, rate};
        line.resize(2 + columns.size());
        for (const Line* l : firsts) {
            const auto column = std::find(columns.begin(), columns.end(), l->of.row.base_label());
            const std::string its_rate = l->of.learning_rate ? rate_text(*l->of.learning_rate) : "-";
            if (column != columns.end() && reading_of(l->of.row) == reading && its_rate == rate)
                line[2 + (column - columns.begin())] = cell_text(*l);
        }
        cells.push_back(line);
    }
    const std::string table = in_format(cells, o.format, o.width);
    std::string s;
    s += fmt::format("routing, or the row's own quantity, [chance] (seeds), at scale {}; empty: not run\n", o.scale);
    if (std::any_of(firsts.begin(), firsts.end(), [](const Line* l) { return l->stopped_after > 0; }))
        s += "after 15: from a run stopped after epoch 15, so not a result of the row\n";
    if (!empty.empty()) s += fmt::format("not run under any of these readings: {}\n", fmt::join(empty, ", "));
    return table + sentences_in(s, o.format, o.width);
}

} // namespace fci
