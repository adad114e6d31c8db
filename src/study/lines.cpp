#include "study/lines.h"

#include <algorithm>
#include <cmath>

#include "routing/router.h"
#include "study/hotpot_rows.h"

namespace fci {
namespace {

bool percentage(const std::string& quantity) {
    return quantity == "routing" || quantity == "all" || quantity == "accuracy";
}

std::optional<double> analysed(const Result& r, const std::string& name) {
    const auto found = r.analysis.find(name);
    return found == r.analysis.end() ? std::nullopt : std::optional(found->second);
}

// The chance of one result; exact if there is a law.
std::optional<double> chance_of(const Result& r, const std::string& quantity, const Controls& controls) {
    if (quantity == "routing") return controls.chance ? controls.chance->at_k : r.chance.at_k;
    if (quantity == "accuracy")
        return controls.chance && r.chance.accuracy ? controls.chance->accuracy : r.chance.accuracy;
    return analysed(r, "chance_all");
}

double half_way(const Result& r, const Controls& controls) {
    return transition_at(chance_of(r, "routing", controls).value_or(0));
}

// The first epoch with routing halfway from chance to 100%; 0: none.
int transition_of(const Result& r, const Controls& controls) {
    if (r.curve.empty() || !controls.chance) return r.transition_epoch;
    for (const auto& point : r.curve)
        if (point[1] >= half_way(r, controls)) return static_cast<int>(point[0]);
    return 0;
}

// A result's routing and accuracy: from the final test if that is requested and present.
const Metrics& metrics_of(const Result& r, bool final) { return final && r.final ? r.final->metrics : r.metrics; }

std::optional<double> value_of(const Case& of, const std::string& quantity, const Result& r, const Controls& controls,
                               bool final) {
    if (quantity == "transition_epoch") {
        const int epoch = transition_of(r, controls);
        return epoch ? std::optional<double>(epoch) : std::nullopt;
    }
    if (quantity == "all") return analysed(r, "routing_all");
    if (quantity == "routing") return of.row.measure.empty() ? metrics_of(r, final).at_k : analysed(r, of.row.measure);
    return quantity == "accuracy" ? metrics_of(r, final).accuracy : analysed(r, quantity);
}

// Summarises the row's values of this quantity over its results.
Summary over_seeds(const Case& of, const std::string& quantity, const std::vector<const Result*>& results,
                   const Controls& controls, bool final, bool tested = true) {
    std::vector<double> values, chances, strict, ties;
    double queries = 0;
    int without = 0, converged = 0, trained = 0;
    const bool of_router = quantity == "routing" && of.row.measure.empty();
    for (const Result* r : results) {
        if (const auto x = value_of(of, quantity, *r, controls, final))
            values.push_back(*x);
        else if (quantity == "transition_epoch")
            ++without;
        if (percentage(quantity)) {
            if (const auto c = chance_of(*r, quantity, controls)) chances.push_back(*c);
            const bool of_final = final && r->final && (of_router || quantity == "accuracy");
            const double n = static_cast<double>(of_final ? r->final->queries : r->queries);
            queries = queries == 0 ? n : std::min(queries, n);
        }
        if (of_router && final && r->final && r->final->ties)
            strict.push_back(r->final->strict.value_or(0)), ties.push_back(*r->final->ties);
        const double enough = half_way(*r, controls); // infinite: convergence is undefined here
        if (const auto routing = metrics_of(*r, final).at_k; routing && !r->curve.empty() && std::isfinite(enough))
            ++trained, converged += *routing >= enough;
    }
    Summary o = summarise(values, queries);
    o.without = without;
    if (!chances.empty()) o.chance = summarise(chances, 0).mean; // fitted chances differ: each seed has its own data
    o.paper_chance = paper_chance(of.options, quantity);
    if (quantity == "transition_epoch")
        o.converged = o.seeds;
    else if ((of_router || quantity == "accuracy") && trained == o.seeds)
        o.converged = converged;
    o.tie = !ties.empty() && ties.size() == results.size() &&
            by_ties_alone(summarise(strict, 0).mean, summarise(ties, 0).mean);
    o.tested = tested;
    return o;
}

std::optional<double> mean(const std::vector<std::optional<double>>& values) {
    double sum = 0;
    int n = 0;
    for (const auto& v : values)
        if (v) sum += *v, ++n;
    return n ? std::optional(sum / n) : std::nullopt;
}

// Adds the numbers shown beside another one: for routing, precision at 1 with its chance, and with neighbours; for a
// rank, the rank of Wq^T Wk.
void add_beside(Line& line, const std::vector<const Result*>& results) {
    std::vector<std::optional<double>> values, chances, neighbours;
    for (const Result* r : results) {
        if (line.quantity == "rank") values.push_back(analysed(*r, "wqk_rank"));
        if (line.quantity != "routing") continue;
        const std::string& measure = line.of.row.measure;
        values.push_back(measure.empty() ? metrics_of(*r, true).at_1 : analysed(*r, measure + "_at_1"));
        chances.push_back(line.controls.chance ? line.controls.chance->at_1 : r->chance.at_1);
        if (measure.empty() && r->final) neighbours.push_back(r->final->neighbours);
    }
    line.beside = mean(values), line.beside_chance = mean(chances), line.neighbours = mean(neighbours);
}

std::vector<const Result*> seeds_in(const Case& c, const Results& results, int64_t seeds) {
    return c.row.has_runs() ? results.of_seeds(c.options, seeds) : std::vector<const Result*>{};
}

std::vector<std::pair<std::string, std::string>> shown(const Row& row) {
    if (!row.paper.empty()) return row.paper;
    if (row.measured == Measured::on_file_too) return {{"routing", ""}, {"all", ""}, {"transition_epoch", ""}};
    const RouterKind& router = router_kind(row.settings.values.model.router); // a user's row: what its runs have
    if (!router.routes()) return {{"accuracy", ""}};
    if (router.type != RouterKind::in_model) return {{"routing", ""}};
    return {{"routing", ""}, {"accuracy", ""}, {"transition_epoch", ""}};
}

} // namespace

std::string rate_of(const Case& c) { return c.learning_rate ? rate_text(*c.learning_rate) : "-"; }

std::vector<Line> lines_of(const std::vector<Case>& cases, const Results& own, const Results& recorded, int64_t seeds,
                           ControlsOfRows* known) {
    std::vector<Line> lines;
    ControlsOfRows fresh, &controls = known ? *known : fresh;
    for (const Case& c : cases) {
        const auto add = [&](const auto& quantities, const std::vector<const Result*>& results, bool from_record,
                             const std::optional<MeasuredOn>& on) {
            const bool final =
                std::any_of(results.begin(), results.end(), [](const Result* r) { return bool(r->final); });
            const Controls of_row = on || results.empty() ? Controls{} : controls.of(c.options, final);
            const bool tested =
                of_row.hold() && (on || std::all_of(results.begin(), results.end(),
                                                    [&](const Result* r) { return controls.on_its_data(*r); }));
            for (const auto& [quantity, paper] : quantities) {
                Line line;
                line.of = c, line.quantity = quantity, line.paper = paper, line.on = on;
                line.controls = of_row, line.recorded = from_record, line.ran = !results.empty();
                line.ours = over_seeds(c, quantity, results, of_row, !on, tested);
                add_beside(line, results);
                lines.push_back(line);
            }
        };
        std::vector<const Result*> results = seeds_in(c, own, seeds);
        bool from_record = false;
        if (results.empty()) {
            results = seeds_in(c, recorded, seeds);
            from_record = !results.empty();
        }
        const size_t first = lines.size();
        const bool index = c.row.measured == Measured::by_index;
        std::vector<MeasuredOn> files;
        if (c.row.measured != Measured::here) {
            files = own.files(c.options);
            if (files.empty()) files = recorded.files(c.options);
        }
        if (!index || files.empty()) add(shown(c.row), results, from_record, std::nullopt);
        if (results.empty() && c.row.has_runs()) {
            std::vector<const Result*> stopped = own.stopped(c.options, seeds);
            if (stopped.empty()) stopped = recorded.stopped(c.options, seeds);
            for (size_t i = stopped.empty() ? lines.size() : first; i < lines.size(); ++i)
                lines[i].stopped = over_seeds(c, lines[i].quantity, stopped, controls.of(c.options, true), true),
                lines[i].stopped_after = (*std::min_element(stopped.begin(), stopped.end(), [](auto* a, auto* b) {
                                             return a->stopped_after < b->stopped_after;
                                         }))->stopped_after;
        }
        for (const MeasuredOn& on : files) {
            results = own.of_seeds(c.options, seeds, on.hash);
            from_record = results.empty();
            if (from_record) results = recorded.of_seeds(c.options, seeds, on.hash);
            auto quantities = index ? c.row.paper : decltype(c.row.paper){{"routing", ""}};
            quantities.emplace_back("all", "");
            add(quantities, results, from_record, on);
        }
    }
    return lines;
}

std::vector<std::string> differences(const std::vector<Case>& cases, const Results& own, const Results& recorded,
                                     int64_t seeds, int& compared) {
    std::vector<std::string> found;
    compared = 0;
    ControlsOfRows controls;
    for (const Case& c : cases) {
        std::vector<const Result*> now, then; // of the same runs
        for (const Result* r : seeds_in(c, own, seeds))
            if (const Result* old = recorded.find(r->hash)) now.push_back(r), then.push_back(old);
        if (now.empty()) continue;
        ++compared;
        const Controls of_row = controls.of(c.options, false);
        std::vector<std::string> compare{"routing", "accuracy"}; // and the paper's quantities of this row
        for (const auto& [quantity, paper] : c.row.paper)
            if (quantity != "routing" && quantity != "accuracy") compare.push_back(quantity);
        for (const std::string& quantity : compare) {
            const Summary a = over_seeds(c, quantity, now, of_row, false),
                          b = over_seeds(c, quantity, then, of_row, false);
            const double same = quantity == "accuracy" ? margin("routing", b.mean) : margin(quantity, b.mean);
            const double spread = std::max(same, b.half_width), off = std::abs(a.mean - b.mean);
            if (a.seeds == b.seeds && (a.seeds == 0 || off <= spread)) continue;
            const std::string rate = c.learning_rate ? " at learning rate " + rate_of(c) : "";
            if (a.seeds != b.seeds)
                found.push_back(fmt::format("{}{}: {} of {} seeds have a {}, recorded {}", c.row.label(), rate, a.seeds,
                                            now.size(), quantity, b.seeds));
            else
                found.push_back(fmt::format("{}{}: {} is {:.4g}, recorded {:.4g}, more than {:.2g} apart",
                                            c.row.label(), rate, quantity, a.mean, b.mean, spread));
        }
    }
    return found;
}

} // namespace fci
