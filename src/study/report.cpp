#include "study/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "study/estimate.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"
#include "train/progress.h"

namespace fci {
namespace {

std::string beside_text(const Line& line) {
    if (!line.beside) return "-";
    if (line.quantity == "rank") return fmt::format("Wq^T Wk {:.1f}", *line.beside);
    return fmt::format("{:.1f} ({})", *line.beside,
                       line.beside_chance ? fmt::format("{:.1f}", *line.beside_chance) : "-");
}

} // namespace

int decimals(const std::string& quantity) { return quantity == "cosine_gap" ? 3 : 1; }

std::string ours_text(const Line& line) {
    const Summary& o = line.ours;
    const int ran = o.ran();
    if (ran == 0) return line.ran ? "no value" : "not run";
    const std::string mark = line.recorded ? "*" : "";
    if (o.seeds == 0) return fmt::format("none ({}){}", ran, mark);
    const std::string number = fmt::format("{:.{}f}", o.mean, decimals(line.quantity));
    if (line.on) // interval over seeds and the file's examples
        return fmt::format("{} [{:.1f}, {:.1f}] ({}){}", number, std::max(0.0, o.mean - o.half_width),
                           std::min(100.0, o.mean + o.half_width), ran, mark);
    if (o.converged && 0 < *o.converged && *o.converged < ran) {
        const auto [low, high] = wilson(*o.converged, ran);
        return fmt::format("{} ({} of {} converge [{:.0f}, {:.0f}]%){}", number, *o.converged, ran, low, high, mark);
    }
    const std::string spread = o.seeds > 1 ? fmt::format(" ±{:.{}f}", o.sd, decimals(line.quantity)) : "";
    return fmt::format("{}{} ({}){}", number, spread, ran, mark);
}

std::string what_text(const Line& line) {
    if (line.on) return fmt::format("{} on {}", line.quantity, line.on->name);
    return line.quantity == "routing" && !line.of.row.measure.empty() ? line.of.row.measure : line.quantity;
}

namespace {

// "100.0"; for a failed control, also the expected value.
std::string oracle_text(const Line& line) {
    if (!line.controls.oracle) return "-";
    const Control& c = *line.controls.oracle;
    return c.holds ? fmt::format("{:.1f}", c.got) : fmt::format("{:.1f}, not {:.1f}", c.got, c.expected);
}

} // namespace

std::string verdict_of(const Line& line, const std::string& scale) {
    if (line.of.row.measured == Measured::by_index && line.on &&
        !line.paper.empty()) // at every scale: nothing is scaled down
        return is_official(*line.on) ? name(judge(line.quantity, *parse_paper(line.paper), line.ours)) : "a sample";
    if (line.on) return "-";
    if (!line.of.row.has_runs() || !line.ran) return name(Verdict::not_run);
    if (line.ours.ran() == 0) return "-"; // the row has no such number
    if (!line.ours.tested) return name(Verdict::untested);
    if (scale != "paper") return scale;
    if (line.paper.empty()) return "-";
    return verdict_text(judge(line.quantity, *parse_paper(line.paper), line.ours), line.ours);
}

std::string command_text(const Line& line, const std::string& scale) {
    const Row& row = line.of.row;
    if (line.on && row.measured == Measured::by_index) return fmt::format("./fci reproduce {} --data FILE", row.id);
    if (!row.has_runs()) return "needs " + row.needs;
    return fmt::format("./fci reproduce {}{} --scale {}{}{}", row.by_file ? row.file : row.base_id(),
                       row.under.empty() ? "" : " --reading " + row.under, scale, line.on ? " --data FILE" : "",
                       row.settings.values.model.has_backbone() ? " --backbones DIR" : "");
}

namespace {

// Everything known about each line, as data.
std::string data(const std::vector<Line>& lines, const TableOptions& o) {
    Cells cells{{"id",      "reading",    "what",      "learning_rate", "paper",       "ours",           "sd",
                 "seeds",   "half_width", "chance",    "at_1",          "at_1_chance", "verdict",        "recorded",
                 "command", "half_90",    "converged", "neighbours",    "oracle",      "oracle_ceiling", "blind"}};
    for (const Line& l : lines) {
        const Summary& u = l.ours;
        const Controls& control = l.controls;
        const auto number = [&](double x) { return u.seeds ? fmt::format("{:.6g}", x) : ""; };
        cells.push_back({l.of.row.id,
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
                         verdict_of(l, o.scale),
                         l.recorded ? "yes" : "no",
                         command_text(l, o.scale),
                         number(u.half_90),
                         u.converged ? std::to_string(*u.converged) : "",
                         l.neighbours ? fmt::format("{:.6g}", *l.neighbours) : "",
                         control.oracle ? fmt::format("{:.6g}", control.oracle->got) : "",
                         control.oracle ? fmt::format("{:.6g}", control.oracle->expected) : "",
                         control.blind ? fmt::format("{:.6g}", control.blind->got) : ""});
    }
    if (o.format == "csv") return csv_lines(cells);
    std::vector<std::string> numbers = cells[0];
    for (const char* text : {"id", "reading", "what", "paper", "verdict", "recorded", "command"})
        std::erase(numbers, text);
    return json_lines(cells, numbers);
}

} // namespace

std::string table_text(const std::vector<Line>& lines, const TableOptions& o) {
    if (is_data(o.format)) return data(lines, o);
    Cells cells{{"id", "what", "lr", "paper", "ours (seeds)", "chance", "oracle", "at 1 (chance)", "with neighbours",
                 "verdict", "command"}};
    bool recorded = false, own = false, failing = false;
    std::map<std::string, std::string> files; // by hash
    for (const Line& l : lines) {
        recorded |= l.recorded, own |= l.of.row.measured == Measured::on_file_too;
        if (l.on) files[l.on->hash] = file_text(*l.on);
        cells.push_back({l.of.row.label(), what_text(l), rate_of(l.of), l.paper, ours_text(l),
                         l.ours.chance ? fmt::format("{:.1f}", *l.ours.chance) : "-", oracle_text(l), beside_text(l),
                         l.neighbours ? fmt::format("{:.1f}", *l.neighbours) : "-", verdict_of(l, o.scale),
                         command_text(l, o.scale)});
        failing |= l.ran && !l.ours.tested;
    }
    if (o.format == "md")
        for (size_t i = 1; i < cells.size(); ++i)
            if (cells[i].back().starts_with("./")) cells[i].back() = fmt::format("`{}`", cells[i].back());
    std::string gone;
    if (o.format == "text")
        gone = fit(cells, {"command", "with neighbours", "oracle", "at 1 (chance)", "chance"}, o.width);
    const std::vector<std::string>& heads = cells[0];
    const auto shown = [&](const char* head) { return std::find(heads.begin(), heads.end(), head) != heads.end(); };
    const auto verdict = static_cast<size_t>(std::find(heads.begin(), heads.end(), "verdict") - heads.begin());
    const std::string table =
        o.format != "text"
            ? in_format(cells, o.format)
            : aligned(cells, o.width, [&](const std::string& part, const std::string& cell, size_t column) {
                  if (!o.colour || column != verdict) return part;
                  const char* colour = cell == "reproduced"        ? "32"
                                       : cell == "at chance, both" ? "36"
                                       : cell == "differs"         ? "31"
                                                                   : "2";
                  return fmt::format("\x1b[{}m{}\x1b[0m", colour, part);
              });
    std::string s = "ours: mean ± standard deviation over seeds (their number)";
    for (const auto& [head, words] : {
             std::pair("chance", "chance: the best score of a rule that ignores the content"),
             {"oracle", "oracle: an untrained router that knows the task's law, by token and distance"},
             {"at 1 (chance)", "at 1: routing by the first choice alone (for rank: the rank of Wq^T Wk)"},
             {"with neighbours", "with neighbours: each choice's right neighbour counts too"},
         })
        if (shown(head)) s += fmt::format("; {}", words);
    s += '\n';
    s += gone;
    if (failing)
        s += "untested: the oracle or a blind rule does not score what the law says, or the data's hash is not the "
             "recorded one; check the data\n";
    if (own)
        s += "hotpotqa: routing to any supporting sentence, and to all that start before the cut; chance: the best "
             "blind rule, which may know where sentences start. These rows are not in the paper, which ran BM25 only\n";
    for (const auto& [hash, text] : files) s += fmt::format("on {}\n", text);
    if (!files.empty()) s += "[ ]: 95% interval, over seeds and examples\n";
    if (o.scale != "paper")
        s += fmt::format("scale {}: smaller than the paper's, so there are no verdicts; --scale paper has them\n",
                         o.scale);
    if (recorded) s += fmt::format("* recorded in {}, not run here\n", o.recorded);
    return table + sentences_in(s, o.format, o.width);
}

std::string rows_text(const std::vector<Row>& rows, const Scale& scale, const Results& known, const RunOptions& how,
                      const TableOptions& o) {
    const Estimates estimates(known, how);
    double all = 0; // shared runs count once
    for (const PlannedRun& r : runs_of(plan(rows, scale), 1)) all += estimates.seconds(r.options);
    Cells cells{{"id", "where", "task", "representation", "router", "paper", "time"}}, data = cells;
    data[0].back() = "needs", data[0].push_back("seconds");
    for (const Row& row : rows) {
        std::vector<std::string> values;
        for (const auto& [quantity, value] : row.paper) values.push_back(quantity + " " + value);
        std::string time = "needs " + row.needs;
        double seconds = 0;
        if (row.needs.empty()) {
            for (const Case& c : plan({row}, scale)) seconds += estimates.seconds(c.options);
            time = fmt::format("~{}", duration(seconds));
        }
        const std::string variant = row.settings.has("variant") ? " " + row.settings.values.task.variant : "";
        const std::string paper = fmt::format("{}", fmt::join(values, ", "));
        cells.push_back({row.label(), row.where, row.task + variant, row.representation, row.router, paper, time});
        data.push_back(cells.back()), data.back().back() = row.needs;
        data.back().push_back(row.needs.empty() ? fmt::format("{:.1f}", seconds) : "");
    }
    if (o.format == "json") return json_lines(data, {"seconds"});
    if (o.format == "csv") return csv_lines(data);
    if (o.format == "text") fit(cells, {"router", "where", "task", "representation"}, o.width);
    const std::string s =
        fmt::format("{} row{}; time: one seed at each learning rate of scale {}, from recorded runs or from this "
                    "machine's speed; all together ~{}\n",
                    rows.size(), rows.size() == 1 ? "" : "s", scale.name, duration(all));
    return in_format(cells, o.format, o.width) + sentences_in(s, o.format, o.width);
}

} // namespace fci
