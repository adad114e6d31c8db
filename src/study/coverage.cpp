#include <algorithm>
#include <map>

#include "study/claims.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"

namespace fci {
namespace {

// Seeds of a case, or why it has none.
constexpr int needs_more = -1, on_a_sample = -2;

int seeds_of(const Line& l) {
    if (l.on && !is_official(*l.on)) return on_a_sample;
    if (!l.of.row.needs.empty() && !l.on) return needs_more;
    return l.ours.ran();
}

} // namespace

std::string coverage_text(const Study& study, const Scale& scale, const Results& own, const Results& recorded,
                          const TableOptions& o) {
    std::vector<std::string> columns;
    for (const double rate : scale.learning_rates) columns.push_back(rate_text(rate));
    std::map<std::string, std::map<std::string, int>> ids; // the fewest seeds of each at each rate
    std::map<std::pair<std::string, std::string>, int> of_case;
    std::map<std::string, std::string> id_of;
    for (const Line& l : lines_of(plan(study.rows, scale), own, recorded, o.seeds))
        for (const std::string& rate : columns)
            if (!l.of.learning_rate || rate_of(l.of) == rate) { // of one case the number that most seeds have
                const auto [at, added] = of_case.try_emplace({l.of.row.label(), rate}, seeds_of(l));
                if (!added) at->second = at->second < 0 ? at->second : std::max(at->second, seeds_of(l));
                id_of[l.of.row.label()] = l.of.row.id;
            }
    for (const auto& [key, seeds] : of_case) { // of an id with two readings the one with fewer
        const auto [at, added] = ids[id_of[key.first]].try_emplace(key.second, seeds);
        if (!added) at->second = std::min(at->second, seeds);
    }

    Cells cells{{"seeds"}};
    for (const std::string& rate : columns) cells[0].push_back("ids at " + rate);
    cells[0].push_back("at all rates");
    const auto add = [&](const std::string& name, int low, int high, bool always) {
        std::vector<int> counts(columns.size() + 1);
        for (const auto& [id, rates] : ids) {
            int fewest = 1 << 30;
            for (size_t i = 0; i < columns.size(); ++i) {
                const auto at = rates.find(columns[i]);
                const int seeds = at == rates.end() ? 0 : at->second;
                counts[i] += low <= seeds && seeds <= high;
                fewest = std::min(fewest, seeds);
            }
            counts.back() += low <= fewest && fewest <= high;
        }
        if (!always && std::all_of(counts.begin(), counts.end(), [](int n) { return n == 0; })) return;
        cells.push_back({name});
        for (const int n : counts) cells.back().push_back(std::to_string(n));
    };
    add("3 or more", 3, 1 << 30, true), add("2", 2, 2, true), add("1", 1, 1, true), add("not run yet", 0, 0, true);
    add("on a sample of the official file", on_a_sample, on_a_sample, false);
    add("needs what is not here", needs_more, needs_more, false);
    if (o.format == "csv") return csv_lines(cells);
    return (o.format == "md" ? markdown(cells) + "\n" : aligned(cells)) +
           fmt::format("{} ids of the paper, at scale {}; of an id with two readings the one with fewer seeds counts\n",
                       ids.size(), o.scale);
}

} // namespace fci
