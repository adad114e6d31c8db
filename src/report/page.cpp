#include "report/page.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "report/gather.h"
#include "study/commands.h"
#include "study/hotpot_rows.h"
#include "train/provenance.h"

namespace fci {
namespace {

// The provenance's values for these keys; "" for missing ones.
template <size_t n>
std::array<std::string, n> provenance_words(const Result& r, const char* const (&keys)[n]) {
    simdjson::dom::parser parser;
    const auto from = parser.parse(r.provenance);
    std::array<std::string, n> words;
    std::string_view word;
    for (size_t i = 0; i < n; ++i)
        if (from[keys[i]].get(word) == simdjson::SUCCESS) words[i] = word;
    return words;
}

bool selected(const std::vector<Row>& rows, const Row& row) {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return r.base_label() == row.base_label(); });
}

std::vector<const Result*> results_of(const Page& p, const Case& c, const std::string& on = "") {
    std::vector<const Result*> found = p.own.of_seeds(c.options, 0, on);
    return found.empty() ? p.recorded.of_seeds(c.options, 0, on) : found;
}

// May a row be put under a reading? Not if it sets one of the reading's options to another value itself.
bool may_be_under(const Row& row, const Reading& reading) {
    const Settings s = reading.of_task(row.settings.values.task);
    return std::none_of(s.keys.begin(), s.keys.end(), [&](const std::string& key) {
        return row.settings.has(key) && row.settings.text(key) != s.text(key);
    });
}

// The readings under which a row ran: of one option at a time, and joint ones.
std::vector<Row> readings_of(const Page& p, const Row& row) {
    std::vector<Row> all;
    for (const Row& v : p.study.variants)
        if (v.id.starts_with(row.id + "@") && v.reading == row.reading && v.task == row.task) all.push_back(v);
    for (const Reading& reading : p.study.joint)
        if (may_be_under(row, reading)) all.push_back(under(row, reading));
    return all;
}

std::string reading_name(const Row& row, const Row& base) {
    std::string name = row.under.empty() ? row.id.substr(base.id.size() + 1) : row.under;
    if (!row.under.empty()) return name;
    std::replace(name.begin(), name.end(), '_', ' ');
    std::replace(name.begin(), name.end(), '=', ' ');
    return name;
}

constexpr int many_readings = 6; // a row with this many readings or more gets a figure of them

// `of_claims`: the rows of claims, in their order. The numbers of readings are added to p.others in one step for all of
// them.
void gather_readings(Page& p, const std::vector<std::pair<std::string, Mechanism>>& of_claims) {
    std::vector<Row> rows;
    std::vector<std::pair<size_t, size_t>> parts; // for each mechanism, its readings' range in `rows`
    std::vector<std::pair<std::string, Mechanism>> chosen;
    for (const auto& [claim, m] : of_claims) {
        if (m.quantity != "routing" || !m.row.needs.empty()) continue;
        if (std::any_of(chosen.begin(), chosen.end(),
                        [&](const auto& c) { return c.second.row.label() == m.row.label(); }))
            continue;
        std::set<std::string> families;
        std::vector<Row> its;
        for (const Row& r : readings_of(p, m.row)) {
            bool ran = false;
            for (const Case& c : plan({r}, *p.scale))
                if (!results_of(p, c).empty()) ran = true, families.insert(family_hash(c.options));
            if (ran) its.push_back(r);
        }
        if (static_cast<int>(families.size()) < many_readings) continue;
        parts.emplace_back(rows.size(), rows.size() + its.size());
        rows.insert(rows.end(), its.begin(), its.end());
        chosen.emplace_back(claim, m);
    }
    p.others = lines_of_rows(p, rows);
    for (size_t i = 0; i < chosen.size(); ++i) {
        Many many{chosen[i].first, chosen[i].second, {}, 0, 0, 0};
        Mechanism start = chosen[i].second;
        start.name = "the default", start.under = nullptr;
        many.readings.push_back(start);
        std::map<std::string, size_t> known; // reading by family
        for (const Line* l : start.at)
            if (counts(l)) known[family_hash(l->of.options)] = 0;
        for (size_t r = parts[i].first; r < parts[i].second; ++r) {
            Mechanism m{rows[r], reading_name(rows[r], start.row), "routing", start.paper, {}, nullptr, {}};
            std::optional<size_t> same;
            for (const Line& l : p.others)
                if (l.of.row.label() == rows[r].label() && l.quantity == "routing" && counts(&l)) {
                    const auto [at, added] = known.try_emplace(family_hash(l.of.options), many.readings.size());
                    if (added)
                        m.at.push_back(&l);
                    else
                        same = at->second;
                }
            if (!m.at.empty())
                many.readings.push_back(m);
            else if (same)
                many.readings[*same].also.push_back(m.name);
        }
        const auto value = [&](const Mechanism& m) { // the value at the highest rate
            double best = -1, rate = 0;
            for (const Line* l : m.at)
                if (counts(l) && l->of.learning_rate.value_or(0) >= rate)
                    best = l->ours.mean, rate = l->of.learning_rate.value_or(0);
            return best;
        };
        std::stable_sort(many.readings.begin() + 1, many.readings.end(),
                         [&](const auto& a, const auto& b) { return value(a) > value(b); });
        for (const Mechanism& m : many.readings)
            for (const Line* l : m.at) {
                if (!counts(l)) continue;
                const std::string out = outcome_of(l->ours.mean, l->ours.chance.value_or(0));
                ++(out == "fails" ? many.low : out == "routes" ? many.high : many.between);
            }
        p.many.push_back(many);
    }
}

void gather_claims(Page& p, Claims& claims, const std::vector<Row>& rows) {
    std::vector<std::pair<std::string, Mechanism>> strips;
    for (Judged& j : judge_claims(claims, p.study, *p.scale, p.lines, p.under)) {
        if (!p.options.words.empty() &&
            std::none_of(j.rows.begin(), j.rows.end(), [&](const Row& r) { return selected(rows, r); }))
            continue;
        ClaimStrips c{std::move(j), {}};
        for (size_t i = 0; i < c.judged.rows.size(); ++i) {
            const Row& row = c.judged.rows[i];
            const std::string quantity = c.judged.claim.quantity.empty() ? row.paper[0].first : c.judged.claim.quantity;
            Mechanism m{row, mechanism_name(row, quantity), quantity, c.judged.paper_of(i), {}, nullptr, {}};
            for (const auto& at : c.judged.at_rates)
                if (m.at.empty() || m.at[0] != at[i]) m.at.push_back(at[i]);
            if (row.needs.empty() && !c.judged.under.empty() && counts(c.judged.under[i])) m.under = c.judged.under[i];
            c.strips.push_back(m);
            strips.emplace_back(c.judged.claim.words, m);
        }
        p.claims.push_back(std::move(c));
    }
    gather_readings(p, strips);
}

// The readings that a figure names.
void gather_readings_in_words(Page& p) {
    std::set<std::string> named{p.reading};
    for (const Many& many : p.many)
        for (const Mechanism& m : many.readings) {
            named.insert(m.name);
            named.insert(m.also.begin(), m.also.end());
        }
    for (const Reading& r : p.study.joint)
        if (named.contains(r.word)) p.readings.emplace_back(r.word, reading_words(r.settings));
}

void gather_folds(Page& p, const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        std::string group = row.foreign ? row.file : row.where;
        if (group.starts_with("Fig.") && std::isalpha(static_cast<unsigned char>(group.back()))) group.pop_back(); // 3a
        auto at = std::find_if(p.folds.begin(), p.folds.end(), [&](const FoldGroup& g) { return g.name == group; });
        if (at == p.folds.end()) at = p.folds.insert(at, FoldGroup{group, {}});
        Fold fold{row, {}, {}, {}};
        for (const Line& l : p.lines)
            if (l.of.row.label() == row.label()) fold.lines.push_back(&l);
        std::set<const Result*> seen;
        for (const Line* l : fold.lines)
            for (const Result* r : results_of(p, l->of, l->on ? l->on->hash : ""))
                if (seen.insert(r).second) {
                    const auto [git, data, device, date] = provenance_words(*r, {"git", "data_hash", "device", "date"});
                    fold.runs.push_back({r, rate_of(l->of), git, data, device.empty() ? "cpu" : device, date});
                }
        for (const Case& c : plan({row}, *p.scale))
            if (const auto s = series_of(p, c)) fold.series.push_back(*s);
        at->folds.push_back(std::move(fold));
    }
    const auto rank = [](const FoldGroup& g) { // tables, figures, sections, others
        return g.name.starts_with("Table") ? 0 : g.name.starts_with("Fig.") ? 1 : g.name.starts_with("Sec.") ? 2 : 3;
    };
    std::stable_sort(p.folds.begin(), p.folds.end(), [&](const FoldGroup& a, const FoldGroup& b) {
        return std::pair(rank(a), a.name) < std::pair(rank(b), b.name);
    });
}

void gather_controls(Page& p, const std::vector<Row>& rows_shown) {
    std::map<std::string, size_t> known;
    for (const Line& l : p.lines) {
        const Controls& c = l.controls;
        if (!l.ran || (!c.oracle && !c.blind) || !selected(rows_shown, l.of.row)) continue;
        if (!l.ours.tested && !std::count(p.untested.begin(), p.untested.end(), l.of.row.label()))
            p.untested.push_back(l.of.row.label());
        const auto number = [](const std::optional<Control>& x) {
            return x ? fmt::format("{} {}", x->got, x->expected) : "-";
        };
        const std::string key = fmt::format("{} {} {}", l.of.row.task, number(c.oracle), number(c.blind));
        const auto [at, added] = known.try_emplace(key, p.controls.size());
        if (added) p.controls.push_back({c, {}});
        std::vector<std::string>& rows = p.controls[at->second].rows;
        if (!std::count(rows.begin(), rows.end(), l.of.row.label())) rows.push_back(l.of.row.label());
    }
}

void gather_forecasts(Page& p) {
    if (!std::filesystem::exists(p.study.folder + "/registered.toml")) return;
    const Registered all = load_registered(p.study);
    if (p.options.scale != all.scale) return;
    p.forecasts.emplace();
    for (const Cell& cell : cells_of(all, p.study))
        if (const auto came = came_of(all, cell, p.own, p.recorded, 0, p.controls_of_rows); came && !came->before) {
            ++p.forecasts->ran, p.forecasts->forecast += cell.expected.expect != "open";
            if (is_wrong(cell, *came)) p.forecasts->wrong.push_back({cell, *came});
        }
}

} // namespace

std::vector<Line> lines_of_rows(Page& p, const std::vector<Row>& rows) {
    return lines_of(plan(rows, *p.scale), p.own, p.recorded, 0, &p.controls_of_rows);
}

std::optional<Series> series_of(const Page& p, const Case& c) {
    Series s;
    s.rate = c.learning_rate;
    for (const Result* r : results_of(p, c)) {
        if (r->curve.empty() || (s.seeds && r->curve.size() != s.epoch.size())) continue;
        ++s.seeds;
        for (size_t e = 0; e < r->curve.size(); ++e) {
            const double x = r->curve[e][1];
            if (std::isnan(x)) return std::nullopt;
            if (s.seeds == 1)
                s.epoch.push_back(r->curve[e][0]), s.mean.push_back(x), s.low.push_back(x), s.high.push_back(x);
            else {
                s.mean[e] += (x - s.mean[e]) / s.seeds;
                s.low[e] = std::min(s.low[e], x), s.high[e] = std::max(s.high[e], x);
            }
        }
    }
    return s.seeds ? std::optional(s) : std::nullopt;
}

std::unique_ptr<Page> load_page(const PageOptions& o, std::vector<std::string>& notes) {
    auto page = std::make_unique<Page>();
    Page& p = *page;
    p.options = o;
    p.study = load_study(find_runs_folder());
    p.scale = &p.study.scale(o.scale);
    const std::string record = p.study.folder + "/results";
    p.own = Results(o.results, o.scale, notes), p.recorded = Results(record, o.scale, notes);
    std::error_code error;
    p.by_record = p.own.all().empty() || std::filesystem::equivalent(o.results, record, error);
    p.commit = provenance().front().second;
    if (!o.reading.empty()) p.reading = one_reading(&p.study, o.reading).word;
    return page;
}

std::unique_ptr<Page> gather(const PageOptions& o, std::vector<std::string>& notes) {
    std::unique_ptr<Page> page = load_page(o, notes);
    Page& p = *page;
    const bool has_claims = std::filesystem::exists(p.study.folder + "/claims.toml");
    Claims claims = has_claims ? load_claims(p.study) : Claims{};
    if (!p.reading.empty()) claims.reading = p.reading;
    p.reading = claims.reading;
    const std::vector<Row> rows = p.study.select(o.words.empty() ? std::vector<std::string>{"all"} : o.words);
    for (const Row& r : rows)
        if (!r.under.empty())
            fail(Exit::usage, "fci report {}: give the row, {}, and the reading by --reading {}", r.label(),
                 r.base_label(), r.under);
    std::vector<Row> all = rows;
    for (const Row& r : rows_of(claims, p.study))
        if (!selected(all, r)) all.push_back(r);
    p.lines = lines_of_rows(p, all);
    if (!p.reading.empty()) {
        const std::vector<Reading> reading = select_readings(p.study.joint, {p.reading});
        if (o.reading.empty()) // not requested: leaves out rows that cannot be under it
            std::erase_if(all, [&](const Row& r) { return !may_be_under(r, reading[0]); });
        p.under = lines_of_rows(p, under(all, reading));
    }
    for (const Results* results : {&p.own, &p.recorded})
        for (const auto& [hash, r] : results->all())
            if (!(results == &p.recorded && p.own.find(r.hash, r.on ? r.on->hash : ""))) {
                ++p.runs, p.seconds += r.seconds;
                p.newest = std::max(p.newest, provenance_words(r, {"date"})[0]);
            }
    p.coverage = coverage_of(p.lines, *p.scale);
    std::erase_if(p.coverage, [&](const Covered& c) {
        return std::none_of(rows.begin(), rows.end(), [&](const Row& r) { return r.id == c.id; });
    });
    gather_claims(p, claims, rows);
    gather_readings_in_words(p);
    gather_sections(p, rows);
    gather_folds(p, rows);
    gather_controls(p, rows);
    if (o.words.empty()) gather_forecasts(p);
    if (!p.by_record) p.differences = differences(plan(rows, *p.scale), p.own, p.recorded, 0, p.compared);
    write_words(p);
    return page;
}

} // namespace fci
