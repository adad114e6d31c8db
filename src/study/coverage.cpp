#include <algorithm>
#include <map>

#include "study/claims.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"

namespace fci {
namespace {

int seeds_of(const Line& l) {
    if (l.on && !is_official(*l.on)) return on_a_sample;
    if (!l.of.row.needs.empty() && !l.on && !l.ours.ran()) return needs_more;
    return l.ours.ran();
}

} // namespace

std::vector<Covered> coverage_of(const std::vector<Line>& lines, const Scale& scale) {
    std::map<std::pair<std::string, size_t>, int> of_case; // label, number of the rate
    std::map<std::string, std::string> id_of;
    for (const Line& l : lines)
        for (size_t i = 0; i < scale.learning_rates.size(); ++i)
            if (!l.of.learning_rate || *l.of.learning_rate == scale.learning_rates[i]) {
                const auto [at, added] = of_case.try_emplace({l.of.row.label(), i}, seeds_of(l));
                if (!added) at->second = at->second < 0 ? at->second : std::max(at->second, seeds_of(l));
                id_of[l.of.row.label()] = l.of.row.id; // a case counts the quantity with the most seeds
            }
    std::vector<Covered> ids;
    std::map<std::string, std::map<size_t, int>> fewest;
    for (const auto& [key, seeds] : of_case) {
        const auto [at, added] = fewest[id_of[key.first]].try_emplace(key.second, seeds);
        if (!added) at->second = std::min(at->second, seeds);
    }
    for (const Line& l : lines) {
        const std::string& id = l.of.row.id;
        if (std::any_of(ids.begin(), ids.end(), [&](const Covered& c) { return c.id == id; })) continue;
        ids.push_back({id, std::vector<int>(scale.learning_rates.size())});
        for (const auto& [rate, seeds] : fewest[id]) ids.back().seeds[rate] = seeds;
    }
    return ids;
}

std::string coverage_text(const Study& study, const Scale& scale, const Results& own, const Results& recorded,
                          const TableOptions& o) {
    const std::vector<Covered> ids = coverage_of(lines_of(plan(study.rows, scale), own, recorded, o.seeds), scale);
    Cells cells{{"seeds"}};
    for (const double rate : scale.learning_rates) cells[0].push_back("ids at " + rate_text(rate));
    cells[0].push_back("at all rates");
    const auto add = [&](const std::string& name, int low, int high, bool always) {
        std::vector<int> counts(scale.learning_rates.size() + 1);
        for (const Covered& c : ids) {
            for (size_t i = 0; i < c.seeds.size(); ++i) counts[i] += low <= c.seeds[i] && c.seeds[i] <= high;
            const int fewest = *std::min_element(c.seeds.begin(), c.seeds.end());
            counts.back() += low <= fewest && fewest <= high;
        }
        if (!always && std::all_of(counts.begin(), counts.end(), [](int n) { return n == 0; })) return;
        cells.push_back({name});
        for (const int n : counts) cells.back().push_back(std::to_string(n));
    };
    add("3 or more", 3, 1 << 30, true), add("2", 2, 2, true), add("1", 1, 1, true), add("not run yet", 0, 0, true);
    add("on a sample of the official file", on_a_sample, on_a_sample, false);
    add("needs missing data or weights", needs_more, needs_more, false);
    if (is_data(o.format)) return in_format(cells, o.format);
    return in_format(cells, o.format, o.width) +
           sentences_in(
               fmt::format(
                   "{} ids of the paper, at scale {}; for an id with two readings, the one with fewer seeds counts\n",
                   ids.size(), o.scale),
               o.format, o.width);
}

} // namespace fci
