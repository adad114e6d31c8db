#include "study/search.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/rng.h"
#include "study/layout.h"

namespace fci {
namespace {

const std::vector<std::string> stage1_rows{"f2.raw", "f2.content-only"}, stage2_rows{"f2.transformer1", "s46.flow2"};

bool contains(const std::vector<std::string>& v, const std::string& s) {
    return std::find(v.begin(), v.end(), s) != v.end();
}

Case case_of(const Registered& all, const Study& study, const std::string& label, const Reading& reading) {
    const auto row =
        std::find_if(study.rows.begin(), study.rows.end(), [&](const Row& r) { return r.label() == label; });
    if (row == study.rows.end()) fail(Exit::usage, "{}: the search needs the row {}", all.file, label);
    return plan({under(*row, reading)}, study.scale(all.scale)).at(0);
}

// Routing after stage 2's epoch; for a whole run, from its curve.
std::optional<double> early_of(const Case& c, const Results& own, const Results& recorded) {
    const std::string hash = run_hash(c.seeded(1));
    for (const Results* results : {&own, &recorded})
        for (const Result* r : {results->find(hash), results->find_stopped(hash)})
            if (r)
                for (const auto& point : r->curve)
                    if (point[0] == std::min<double>(stage2_epoch, c.options.train.epochs) && !std::isnan(point[1]))
                        return point[1];
    return {};
}

std::string paper_of(const Row& row, const std::string& quantity) {
    for (const auto& [name, value] : row.paper)
        if (name == quantity) return value;
    return "";
}

std::string number(std::optional<double> x) { return x ? fmt::format("{:.1f}", *x) : "-"; }

std::string score_text(const Score& s) { return s.cells ? fmt::format("{:.1f} ({})", s.mean, s.cells) : "-"; }

// The cells of `like` with x in place of our numbers; without x: with chance.
Scored as_if(const Scored& like, std::optional<double> x) {
    Scored s = like;
    for (Scored::Cell& c : s.cells)
        for (std::optional<double>* value : {&c.early, &c.ours})
            if (*value) *value = x ? x : c.chance;
    return s;
}

std::string state_text(const Survival& s) {
    if (s.state == Survival::not_run) return "not run";
    return s.state == Survival::out ? "out" : s.tie ? "survives, a tie" : "survives";
}

// Have all rows that choose run?
bool chosen_by_all(const Scored& s) {
    return std::any_of(s.cells.begin(), s.cells.end(), [](const auto& c) { return c.chooses; }) &&
           std::all_of(s.cells.begin(), s.cells.end(), [](const auto& c) { return !c.chooses || c.early; });
}

// The paper's numbers for the search's runs that neither a reading nor the rows without one come close to.
std::string unexplained(const Registered& all, const Study& study, const Results& own, const Results& recorded,
                        ControlsOfRows& controls, const TableOptions& o) {
    std::set<std::string> runs;
    for (const Cell& cell : cells_of(all, study)) runs.insert(family_hash(cell.of.options));
    std::vector<Row> rows;
    for (const Row& row : study.rows)
        for (const Case& c : row.needs.empty() ? plan({row}, study.scale(all.scale)) : std::vector<Case>{})
            if (runs.contains(family_hash(c.options)) && (rows.empty() || rows.back().label() != row.label()))
                rows.push_back(row);
    std::vector<Row> with = rows;
    for (Row& r : under(rows, all.readings)) with.push_back(std::move(r));
    struct Near {
        std::string row, quantity, paper, reading;
        double ours = 0, off = 0;
        int tried = 0;
    };
    std::vector<Near> found;
    for (const Line& line : lines_of(plan(with, study.scale(all.scale)), own, recorded, o.seeds, &controls)) {
        const auto paper = parse_paper(line.paper);
        if (!paper || !line.ours.tested || line.ours.ran() == 0) continue;
        const std::string row = line.of.row.base_label();
        auto at = std::find_if(found.begin(), found.end(),
                               [&](const Near& n) { return n.row == row && n.quantity == line.quantity; });
        if (at == found.end()) at = found.insert(at, Near{row, line.quantity, line.paper, "", NAN, INFINITY, 0});
        ++at->tried;
        const double off = line.ours.seeds ? off_by(*paper, line.quantity, line.ours.mean) : INFINITY;
        if (off < at->off)
            at->off = off, at->ours = line.ours.mean,
            at->reading = line.of.row.under.empty() ? "defaults, " + rate_of(line.of) : line.of.row.under;
    }
    Cells cells{{"row", "what", "paper", "nearest", "under", "runs"}};
    for (const Near& n : found)
        if (n.off > 0)
            cells.push_back({n.row, n.quantity, n.paper, std::isnan(n.ours) ? "none" : fmt::format("{:.4g}", n.ours),
                             n.reading.empty() ? "-" : n.reading, std::to_string(n.tried)});
    const std::string head = fmt::format("no run comes near {} of {} numbers that the paper gives for these rows:\n",
                                         cells.size() - 1, found.size());
    return sentences_in(head, o.format, o.width) +
           (o.format == "md" ? "\n" + markdown(cells) : in_format(cells, o.format, o.width));
}

} // namespace

std::vector<Survival> stage1(const Registered& all, const Study& study, const Results& own, const Results& recorded,
                             ControlsOfRows& controls) {
    std::vector<Survival> found;
    for (const Reading& reading : all.readings) {
        Survival s;
        s.reading = reading;
        int low = 0, ran = 0;
        for (const std::string& row : stage1_rows) {
            const std::vector<Line> lines = lines_of({case_of(all, study, row, reading)}, own, recorded, 1, &controls);
            const Summary& ours = lines.at(0).ours;
            if (ours.seeds == 0 || !ours.chance) continue;
            (row == stage1_rows[0] ? s.raw : s.content_only) = ours.mean;
            s.chance = std::min(s.chance.value_or(100), *ours.chance);
            ++ran, low += ours.mean <= *ours.chance + 1;
            s.tie |= ours.tie || ours.mean == 0;
        }
        s.state = low < ran ? Survival::out : ran == 2 ? Survival::survives : Survival::not_run;
        s.tie &= s.state == Survival::survives;
        found.push_back(s);
    }
    return found;
}

std::vector<Reading> survivors(const std::vector<Survival>& all) {
    std::vector<Reading> found;
    for (const Survival& s : all)
        if (s.state == Survival::survives) found.push_back(s.reading);
    return found;
}

int departures(const Reading& reading) {
    Settings defaults;
    int n = 0;
    for (const std::string& key : reading.settings.keys)
        n += key != "learning_rate" && reading.settings.text(key) != defaults.text(key);
    return n;
}

double off_by(const PaperValue& paper, const std::string& quantity, double ours) {
    const double m = paper.exact ? margin(quantity, paper.low) : 0;
    return std::max({0.0, paper.low - m - ours, ours - paper.high - m});
}

std::vector<Scored> scored(const Registered& all, const Study& study, const Results& own, const Results& recorded,
                           ControlsOfRows& controls) {
    std::vector<Scored> found;
    for (const Survival& s : stage1(all, study, own, recorded, controls)) {
        Scored of{s, departures(s.reading), {}};
        for (const std::string& row : all.rows()) {
            if (contains(all.arithmetic, row)) continue;
            const Case c = case_of(all, study, row, s.reading);
            const std::string hash = family_hash(c.options);
            const auto paper = parse_paper(paper_of(c.row, "routing"));
            if (!paper || std::any_of(of.cells.begin(), of.cells.end(), [&](auto& x) { return x.hash == hash; }))
                continue;
            Scored::Cell cell{row, hash, *paper, {}, {}, {}};
            cell.chooses = contains(stage2_rows, row);
            cell.unseen = all.find(row, s.reading.name)->seen == "unseen";
            cell.early = early_of(c, own, recorded);
            const Summary ours = lines_of({c}, own, recorded, 0, &controls).at(0).ours;
            if (ours.seeds && ours.tested) cell.ours = ours.mean;
            if (cell.counted())
                if (const auto& chance = controls.chance(c.options)) cell.chance = chance->at_k;
            of.cells.push_back(cell);
        }
        found.push_back(std::move(of));
    }
    return found;
}

Score score(const Scored& of, char part) {
    Score s;
    double sum = 0;
    for (const Scored::Cell& c : of.cells) {
        const bool counts = part == 'a' || (part == 'c') == c.chooses;
        if (!counts || (part == 'u' && !c.unseen) || !c.counted()) continue;
        ++s.cells, sum += off_by(c.paper, "routing", *c.counted());
    }
    if (s.cells) s.mean = sum / s.cells;
    return s;
}

const Scored* best(const std::vector<Scored>& all) {
    const Scored* found = nullptr;
    const auto worth = [](const Scored& s) { return std::pair(std::lround(10 * score(s, 'c').mean), s.departures); };
    for (const Scored& s : all)
        if (s.of.state == Survival::survives && chosen_by_all(s) && (!found || worth(s) < worth(*found))) found = &s;
    return found;
}

std::optional<Shuffled> shuffle(const std::vector<Scored>& all, int times) {
    std::vector<std::string> rows;
    std::vector<PaperValue> papers;
    for (const Scored& s : all)
        for (const Scored::Cell& c : s.cells)
            if (!contains(rows, c.row)) rows.push_back(c.row), papers.push_back(c.paper);
    std::vector<std::vector<std::pair<size_t, double>>> readings; // row, ours
    for (const Scored& s : all) {
        std::vector<std::pair<size_t, double>> ran;
        for (const Scored::Cell& c : s.cells)
            if (c.counted()) ran.emplace_back(std::find(rows.begin(), rows.end(), c.row) - rows.begin(), *c.counted());
        if (2 * ran.size() >= rows.size() && !ran.empty()) readings.push_back(ran);
    }
    if (readings.empty()) return {};
    const auto lowest = [&](const std::vector<PaperValue>& values) {
        double low = INFINITY;
        for (const auto& ran : readings) {
            double sum = 0;
            for (const auto& [row, ours] : ran) sum += off_by(values[row], "routing", ours);
            low = std::min(low, sum / static_cast<double>(ran.size()));
        }
        return low;
    };
    Shuffled result{{}, lowest(papers), static_cast<int>(readings.size())};
    Rng rng(1, Stream::analysis);
    for (int i = 0; i < times; ++i) {
        for (size_t j = papers.size(); j > 1; --j)
            std::swap(papers[j - 1], papers[rng.below(static_cast<uint32_t>(j))]);
        result.lowest.push_back(lowest(papers));
    }
    std::sort(result.lowest.begin(), result.lowest.end());
    return result;
}

std::string survivors_text(const std::vector<Survival>& all) {
    std::vector<std::string> names;
    int ran = 0;
    for (const Survival& s : all) {
        ran += s.state != Survival::not_run;
        if (s.state == Survival::survives) names.push_back(s.reading.name + (s.tie ? " (a tie)" : ""));
    }
    return fmt::format("stage 1: of {} readings {} are decided, {} survive{}{}\n", all.size(), ran, names.size(),
                       names.empty() ? "" : ": ", fmt::join(names, ", "));
}

std::string search_text(const Registered& all, const Study& study, const Results& own, const Results& recorded,
                        const TableOptions& o) {
    ControlsOfRows controls;
    const std::vector<Scored> readings = scored(all, study, own, recorded, controls);
    const Scored* chosen = best(readings);
    Cells cells{
        {"reading", "stage 1", "raw", "content-only", "chance", "chosen by", "judged by", "unseen", "departures"}};
    const auto add = [&](const std::string& name, const Scored& s, bool of_reading) {
        cells.push_back({name, of_reading ? state_text(s.of) : "-", of_reading ? number(s.of.raw) : "-",
                         of_reading ? number(s.of.content_only) : "-", of_reading ? number(s.of.chance) : "-",
                         score_text(score(s, 'c')), score_text(score(s, 'j')), score_text(score(s, 'u')),
                         of_reading ? std::to_string(s.departures) : "-"});
    };
    std::vector<Survival> first;
    const bool all_ran = std::all_of(readings.begin(), readings.end(), [](const Scored& s) {
        return s.of.state == Survival::out || (s.of.state == Survival::survives && chosen_by_all(s));
    });
    for (const Scored& s : readings) {
        first.push_back(s.of);
        const char* mark = &s == chosen        ? all_ran ? " (the best)" : " (the best so far)"
                           : s.departures == 0 ? " (the defaults)"
                                               : "";
        add(s.of.reading.name + mark, s, true);
    }
    if (chosen) {
        add("all at chance, cells of the best", as_if(*chosen, {}), false);
        add("all at 100, cells of the best", as_if(*chosen, 100), false);
    }
    if (is_data(o.format)) return in_format(cells, o.format);
    std::string s;
    if (o.format == "text") s = fit(cells, {"departures", "unseen", "content-only"}, o.width);
    const std::string table = in_format(cells, o.format, o.width);
    s += "points off the paper's routing, 0 at best (cells); chosen by f2.transformer1 and s46.flow2 after epoch 15\n";
    s += survivors_text(first);
    s += fmt::format("left out, since arithmetic fixes them under some reading: {}\n", fmt::join(all.arithmetic, ", "));
    if (const auto luck = shuffle(readings)) {
        const auto at = [&](double share) {
            return luck->lowest[static_cast<size_t>(share * static_cast<double>(luck->lowest.size() - 1))];
        };
        const auto below = std::upper_bound(luck->lowest.begin(), luck->lowest.end(), luck->real + 1e-9);
        s += fmt::format("the lowest score of all cells, among {} readings that ran half of them: {:.1f}; with the "
                         "paper's values shuffled 5, 25, 50, 75, 95% are below {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}, "
                         "and {:.2f}% are as low\n",
                         luck->readings, luck->real, at(0.05), at(0.25), at(0.5), at(0.75), at(0.95),
                         100.0 * static_cast<double>(below - luck->lowest.begin()) /
                             static_cast<double>(luck->lowest.size()));
    } else
        s += "no reading ran half of the cells yet, so there is no comparison with shuffled values\n";
    return table + sentences_in(s, o.format, o.width) + "\n" + unexplained(all, study, own, recorded, controls, o);
}

} // namespace fci
