#include "study/report.h"

#include <algorithm>
#include <cmath>

#include "study/estimate.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"
#include "train/progress.h"

namespace fci {
namespace {

bool percentage(const std::string& quantity) {
    return quantity == "routing" || quantity == "all" || quantity == "accuracy";
}

std::optional<double> chance_of(const Result& r, const std::string& quantity) {
    if (quantity == "routing") return r.chance.at_k;
    if (quantity == "accuracy") return r.chance.accuracy;
    const auto found = r.analysis.find("chance_all");
    return found == r.analysis.end() ? std::nullopt : std::optional(found->second);
}

// The seeds 1, 2, ... that are there; of each what the row shows as this quantity.
Ours over_seeds(const Case& of, const std::string& quantity, const std::vector<const Result*>& results) {
    std::vector<double> values, chances;
    double queries = 0;
    int without = 0;
    for (const Result* r : results) {
        std::optional<double> x;
        const std::string name = quantity == "routing"  ? of.row.measure
                                 : quantity == "all"    ? "routing_all"
                                 : percentage(quantity) ? ""
                                                        : quantity;
        if (quantity == "transition_epoch") {
            if (r->transition_epoch)
                x = r->transition_epoch;
            else
                ++without;
        } else if (!name.empty()) {
            if (const auto found = r->analysis.find(name); found != r->analysis.end()) x = found->second;
        } else
            x = quantity == "routing" ? r->metrics.at_k : r->metrics.accuracy;
        if (x) values.push_back(*x);
        if (percentage(quantity)) {
            if (const auto c = chance_of(*r, quantity)) chances.push_back(*c);
            queries = static_cast<double>(r->queries);
        }
    }
    Ours o = summarise(values, queries);
    o.without = without;
    if (!chances.empty()) o.chance = summarise(chances, 0).mean; // of each seed's own training set
    return o;
}

std::optional<double> mean(const std::vector<std::optional<double>>& values) {
    double sum = 0;
    int n = 0;
    for (const auto& v : values)
        if (v) sum += *v, ++n;
    return n ? std::optional(sum / n) : std::nullopt;
}

// What always stands beside a number: precision at 1 and its chance beside routing, the rank of Wq^T Wk beside a rank.
void add_beside(Line& line, const std::vector<const Result*>& results) {
    std::vector<std::optional<double>> values, chances;
    for (const Result* r : results) {
        const auto analysed = [&](const std::string& name) {
            const auto found = r->analysis.find(name);
            return found == r->analysis.end() ? std::nullopt : std::optional(found->second);
        };
        if (line.quantity == "rank") values.push_back(analysed("wqk_rank"));
        if (line.quantity != "routing") continue;
        const std::string& measure = line.of.row.measure;
        values.push_back(measure.empty() ? r->metrics.at_1 : analysed(measure + "_at_1"));
        chances.push_back(r->chance.at_1);
    }
    line.beside = mean(values), line.beside_chance = mean(chances);
}

std::string beside_text(const Line& line) {
    if (!line.beside) return "-";
    if (line.quantity == "rank") return fmt::format("Wq^T Wk {:.1f}", *line.beside);
    return fmt::format("{:.1f} ({})", *line.beside,
                       line.beside_chance ? fmt::format("{:.1f}", *line.beside_chance) : "-");
}

std::vector<const Result*> seeds_in(const Case& c, const Results& results, int64_t seeds) {
    return c.row.needs.empty() ? results.of_seeds(c.options, seeds) : std::vector<const Result*>{};
}

std::vector<std::pair<std::string, std::string>> shown(const Row& row) {
    if (!row.paper.empty()) return row.paper;
    if (learns_text(row)) return {{"routing", ""}, {"all", ""}, {"transition_epoch", ""}};
    const std::string& router = row.settings.values.model.router; // a file of one's own: what its runs have
    if (router == "none") return {{"accuracy", ""}};
    if (router_kind(router) != RouterKind::in_model) return {{"routing", ""}};
    return {{"routing", ""}, {"accuracy", ""}, {"transition_epoch", ""}};
}

int decimals(const std::string& quantity) { return quantity == "cosine_gap" ? 3 : 1; }

std::string rate_of(const Case& c) { return c.learning_rate ? rate_text(*c.learning_rate) : "-"; }

std::string ours_text(const Line& line) {
    const Ours& o = line.ours;
    const int ran = o.seeds + o.without;
    if (ran == 0) return line.ran ? "no value" : "not run";
    const std::string mark = line.recorded ? "*" : "";
    if (o.seeds == 0) return fmt::format("none ({}){}", ran, mark);
    const std::string number = fmt::format("{:.{}f}", o.mean, decimals(line.quantity));
    if (line.on) // of seeds and of a file's examples, which another file would replace
        return fmt::format("{} [{:.1f}, {:.1f}] ({}){}", number, std::max(0.0, o.mean - o.half_width),
                           std::min(100.0, o.mean + o.half_width), ran, mark);
    const std::string spread = o.seeds > 1 ? fmt::format(" ±{:.{}f}", o.sd, decimals(line.quantity)) : "";
    return fmt::format("{}{} ({}){}", number, spread,
                       o.without ? fmt::format("{} of {}", o.seeds, ran) : std::to_string(ran), mark);
}

std::string what_text(const Line& line) {
    if (line.on) return fmt::format("{} on {}", line.quantity, line.on->name);
    return line.quantity == "routing" && !line.of.row.measure.empty() ? line.of.row.measure : line.quantity;
}

std::string verdict_text(const Line& line, const std::string& scale) {
    if (on_hotpot(line.of.row) && line.on && !line.paper.empty()) // at no scale: nothing of it is smaller
        return is_official(*line.on) ? name(judge(line.quantity, *parse_paper(line.paper), line.ours)) : "a sample";
    if (line.on) return "-";
    if (!line.of.row.needs.empty() || !line.ran) return name(Verdict::not_run);
    if (line.ours.seeds + line.ours.without == 0) return "-"; // it has no such number
    if (scale != "paper") return scale;
    if (line.paper.empty()) return "-";
    return name(judge(line.quantity, *parse_paper(line.paper), line.ours));
}

std::string command_text(const Line& line, const std::string& scale) {
    const Row& row = line.of.row;
    if (line.on && on_hotpot(row)) return fmt::format("./fci reproduce {} --data FILE", row.id);
    if (!row.needs.empty()) return "needs " + row.needs;
    return fmt::format("./fci reproduce {}{} --scale {}{}", row.foreign ? row.file : row.base_id(),
                       row.under.empty() ? "" : " --reading " + row.under, scale, line.on ? " --data FILE" : "");
}

std::string csv(const std::vector<Line>& lines, const TableOptions& o) {
    std::string s = "id,reading,what,learning_rate,paper,ours,sd,seeds,half_width,chance,at_1,at_1_chance,verdict,"
                    "recorded,command\n";
    for (const Line& l : lines) {
        const Ours& u = l.ours;
        const auto number = [&](double x) { return u.seeds ? fmt::format("{:.6g}", x) : ""; };
        std::vector<std::string> fields{l.of.row.id,
                                        l.of.row.reading,
                                        what_text(l),
                                        l.of.learning_rate ? fmt::format("{}", *l.of.learning_rate) : "",
                                        l.paper,
                                        number(u.mean),
                                        u.seeds > 1 ? number(u.sd) : "",
                                        std::to_string(u.seeds + u.without),
                                        number(u.half_width),
                                        u.chance ? fmt::format("{:.6g}", *u.chance) : "",
                                        l.beside ? fmt::format("{:.6g}", *l.beside) : "",
                                        l.beside_chance ? fmt::format("{:.6g}", *l.beside_chance) : "",
                                        verdict_text(l, o.scale),
                                        l.recorded ? "yes" : "no",
                                        command_text(l, o.scale)};
        for (std::string& f : fields) f = csv_field(f);
        s += fmt::format("{}\n", fmt::join(fields, ","));
    }
    return s;
}

} // namespace

std::vector<Line> lines_of(const std::vector<Case>& cases, const Results& own, const Results& recorded, int64_t seeds) {
    std::vector<Line> lines;
    for (const Case& c : cases) {
        const auto add = [&](const auto& quantities, const std::vector<const Result*>& results, bool from_record,
                             const std::optional<MeasuredOn>& on) {
            for (const auto& [quantity, paper] : quantities) {
                Line line{c,  quantity,    paper,           over_seeds(c, quantity, results), {}, {},
                          on, from_record, !results.empty()};
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
        const bool index = on_hotpot(c.row);
        std::vector<MeasuredOn> files;
        if (index || learns_text(c.row)) {
            files = own.files(c.options);
            if (files.empty()) files = recorded.files(c.options);
        }
        if (!index || files.empty()) add(shown(c.row), results, from_record, std::nullopt);
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

std::string table_text(const std::vector<Line>& lines, const TableOptions& o) {
    if (o.format == "csv") return csv(lines, o);
    const size_t verdict = 7, command = 8;
    Cells cells{{"id", "what", "lr", "paper", "ours (seeds)", "chance", "at 1 (chance)", "verdict", "command"}};
    bool recorded = false, own = false;
    std::map<std::string, std::string> files; // by hash
    for (const Line& l : lines) {
        recorded |= l.recorded, own |= learns_text(l.of.row);
        if (l.on) files[l.on->hash] = file_text(*l.on);
        cells.push_back({l.of.row.label(), what_text(l), rate_of(l.of), l.paper, ours_text(l),
                         l.ours.chance ? fmt::format("{:.1f}", *l.ours.chance) : "-", beside_text(l),
                         verdict_text(l, o.scale), command_text(l, o.scale)});
    }
    std::string s;
    if (o.format == "md") {
        for (size_t i = 1; i < cells.size(); ++i)
            if (cells[i][command].starts_with("./")) cells[i][command] = fmt::format("`{}`", cells[i][command]);
        s = markdown(cells) + "\n";
    } else
        s = aligned(cells, [&](const std::string& text, size_t column) {
            if (!o.colour || column != verdict) return text;
            const char* colour = text == "reproduced"    ? "32"
                                 : text == "same regime" ? "36"
                                 : text == "differs"     ? "31"
                                                         : "2";
            return fmt::format("\x1b[{}m{}\x1b[0m", colour, text);
        });
    s += "ours: mean ± standard deviation over seeds (their number); chance: the best rule that never looks at the "
         "content; at 1: routing by the first choice alone (rank: that of Wq^T Wk)\n";
    if (own)
        s += "hotpotqa: routing to any supporting sentence, and to all that start before the cut; chance: the same, or "
             "a rule "
             "that knows where sentences start. These rows go beyond the paper, which ran BM25 only\n";
    for (const auto& [hash, text] : files) s += fmt::format("on {}\n", text);
    if (!files.empty()) s += "[ ]: 95% interval, over seeds and examples\n";
    if (o.scale != "paper")
        s +=
            fmt::format("scale {}: smaller than the paper's, so without verdicts; --scale paper gives them\n", o.scale);
    if (recorded) s += fmt::format("* recorded in {}, not run here\n", o.recorded);
    return s;
}

std::vector<std::string> differences(const std::vector<Case>& cases, const Results& own, const Results& recorded,
                                     int64_t seeds, int& compared) {
    std::vector<std::string> found;
    compared = 0;
    for (const Case& c : cases) {
        std::vector<const Result*> now, then; // of the same runs
        for (const Result* r : seeds_in(c, own, seeds))
            if (const Result* old = recorded.find(r->hash)) now.push_back(r), then.push_back(old);
        if (now.empty()) continue;
        ++compared;
        std::vector<std::string> compare{"routing", "accuracy"}; // and what the paper has of this row
        for (const auto& [quantity, paper] : c.row.paper)
            if (quantity != "routing" && quantity != "accuracy") compare.push_back(quantity);
        for (const std::string& quantity : compare) {
            const Ours a = over_seeds(c, quantity, now), b = over_seeds(c, quantity, then);
            const double spread = std::max(margin(quantity, b.mean), b.half_width), off = std::abs(a.mean - b.mean);
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

std::string rows_text(const std::vector<Row>& rows, const Scale& scale, const Results& known, int threads) {
    const Estimates estimates(known, threads);
    double all = 0; // runs that rows share are made once
    for (const PlannedRun& r : runs_of(plan(rows, scale), 1)) all += estimates.seconds(r.options);
    Cells cells{{"id", "where", "task", "representation", "router", "paper", "time"}};
    for (const Row& row : rows) {
        std::vector<std::string> values;
        for (const auto& [quantity, value] : row.paper) values.push_back(quantity + " " + value);
        std::string time = "needs " + row.needs;
        if (row.needs.empty()) {
            double seconds = 0;
            for (const Case& c : plan({row}, scale)) seconds += estimates.seconds(c.options);
            time = fmt::format("~{}", duration(seconds));
        }
        const std::string variant = row.settings.has("variant") ? " " + row.settings.values.task.variant : "";
        cells.push_back({row.label(), row.where, row.task + variant, row.representation, row.router,
                         fmt::format("{}", fmt::join(values, ", ")), time});
    }
    return aligned(cells, [](const std::string& text, size_t) { return text; }) +
           fmt::format(
               "{} row{}; time: of one seed at each learning rate of scale {}, as long as recorded runs took, or "
               "by this machine's speed; all together ~{}\n",
               rows.size(), rows.size() == 1 ? "" : "s", scale.name, duration(all));
}

} // namespace fci
