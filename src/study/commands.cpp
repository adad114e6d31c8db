#include "study/commands.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>

#include "core/streams.h"
#include "study/claims.h"
#include "study/grid.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"
#include "study/order.h"
#include "study/report.h"
#include "study/search.h"
#include "study/sweep.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {
namespace {

template <Measured how>
bool measured(const Row& row) {
    return row.measured == how;
}

// What all these commands load first.
struct Loaded {
    Study study;
    std::vector<Row> rows;
    const Scale* scale;

    explicit Loaded(const StudyOptions& o) : study(load_study(find_runs_folder())) {
        rows = study.select(o.words.empty() ? std::vector<std::string>{"all"} : o.words);
        if (!o.readings.empty()) rows = under(rows, select_readings(study.joint, o.readings));
        place_backbones(rows, o.backbones);
        scale = &study.scale(o.scale);
    }
    std::string recorded() const { return study.folder + "/results"; }
};

Results read(const std::string& folder, const std::string& scale) {
    std::vector<std::string> notes;
    Results results(folder, scale, notes);
    for (const std::string& note : notes) complain("note: {}\n", note);
    return results;
}

// For tables: includes the results of indices on HotpotQA, which are those of scale paper at every scale.
Results read_for_table(const std::string& folder, const std::string& scale, const std::vector<Row>& rows) {
    Results results = read(folder, scale);
    if (scale != "paper" && std::any_of(rows.begin(), rows.end(), measured<Measured::by_index>))
        results.take_indices(read(folder, "paper"));
    return results;
}

SweepOptions sweep_options(const StudyOptions& o) {
    SweepOptions s;
    s.scale = o.scale, s.results = o.results, s.how = o.how, s.jobs = o.jobs, s.quiet = o.quiet;
    return s;
}

TableOptions table_options(const StudyOptions& o) {
    TableOptions t;
    t.scale = o.scale, t.results = o.results, t.seeds = o.seeds, t.format = o.format;
    t.colour = use_colour(stdout), t.width = terminal_width(stdout, 0);
    return t;
}

// "5 rows are not run: 4 without weights (no pythia-1b in --backbones DIR), 1 without hotpotqa"; empty if all are.
std::string not_run(const std::vector<Row>& rows) {
    std::map<std::string, int> needs;
    std::set<std::string> absent;
    int all = 0;
    for (const Row& r : rows) {
        if (r.needs.empty()) continue;
        ++needs[r.needs], ++all;
        if (const std::string& folder = r.settings.values.model.backbone; !folder.empty()) absent.insert(folder);
    }
    std::vector<std::string> parts;
    for (const auto& [what, count] : needs)
        parts.push_back(
            fmt::format("{} without {}{}", count, what,
                        what == "weights" ? fmt::format(" (no {} in --backbones DIR)", fmt::join(absent, ", ")) : ""));
    return all ? fmt::format("{} row{} not run: {}", all, all == 1 ? " is" : "s are", fmt::join(parts, ", ")) : "";
}

// Existing results are not made again. This sentence says so if another build made them.
std::string of_other_builds(const std::vector<Case>& cases, const Results& own, int64_t seeds,
                            const std::string& file) {
    const auto [key, commit] = provenance().front();
    const std::string ours = json_quote(key) + ":" + json_quote(commit);
    std::set<const Result*> all, others;
    for (const Case& c : cases)
        if (c.row.needs.empty())
            for (const Result* r : own.of_seeds(c.options, seeds)) {
                all.insert(r);
                if (r->provenance.find(ours) == std::string::npos) others.insert(r);
            }
    if (others.empty()) return "";
    return fmt::format("{} of {} results come from other builds of fci than this one ({}) and were not recomputed; to "
                       "recompute them, move {} away",
                       others.size(), all.size(), commit, file);
}

} // namespace

namespace {

// --registered and --score
Exit show_registered(const StudyOptions& o, const Loaded& l) {
    const char* flag = o.score ? "--score" : "--registered";
    const Registered all = load_registered(l.study);
    if (o.scale != all.scale) fail(Exit::usage, "{}: {} is for --scale {}, not {}", flag, all.file, all.scale, o.scale);
    if (!o.readings.empty()) fail(Exit::usage, "{} shows all readings of {}: leave --reading out", flag, all.file);
    const Results own = read(o.results, o.scale), recorded = read(l.recorded(), o.scale);
    if (o.score) {
        if (!o.words.empty()) fail(Exit::usage, "--score uses all rows of {}: leave the rows out", all.file);
        fmt::print("{}", search_text(all, l.study, own, recorded, table_options(o)));
        return Exit::ok;
    }
    std::vector<std::string> rows;
    if (!o.words.empty())
        for (const Row& r : l.rows) rows.push_back(r.label());
    fmt::print("{}", registered_text(all, cells_of(all, l.study), rows, own, recorded, table_options(o)));
    ControlsOfRows controls;
    if (!is_data(o.format))
        fmt::print("{}", sentences_in(survivors_text(stage1(all, l.study, own, recorded, controls)), o.format,
                                      table_options(o).width));
    return Exit::ok;
}

Exit show_claims(const StudyOptions& o) {
    const char* flag = o.claims ? "--claims" : "--coverage";
    if (o.scale != "paper") fail(Exit::usage, "{} is for --scale paper, not {}", flag, o.scale);
    if (!o.words.empty()) fail(Exit::usage, "{} shows everything: leave {} out", flag, o.words[0]);
    if (o.coverage && !o.readings.empty())
        fail(Exit::usage, "--coverage counts the rows without a reading: leave --reading out");
    StudyOptions plain = o;
    plain.readings.clear();
    const Loaded l(plain);
    TableOptions t = table_options(o);
    t.recorded = l.recorded();
    const Results own = read(o.results, o.scale), recorded = read(t.recorded, o.scale);
    if (o.coverage) {
        fmt::print("{}", coverage_text(l.study, *l.scale, own, recorded, t));
        return Exit::ok;
    }
    Claims claims = load_claims(l.study);
    if (o.readings.size() > 1) fail(Exit::usage, "--claims: expected one reading, not {}", o.readings.size());
    if (!o.readings.empty()) claims.reading = o.readings[0];
    if (!claims.reading.empty()) one_reading(&l.study, claims.reading);
    fmt::print("{}", claims_text(claims, l.study, *l.scale, own, recorded, t));
    return Exit::ok;
}

} // namespace

Exit list_rows(const StudyOptions& o) {
    const Loaded l(o);
    Results known = read(o.results, o.scale);
    if (known.all().empty()) known = read(l.recorded(), o.scale);
    const TableOptions t = table_options(o);
    fmt::print("{}", rows_text(l.rows, *l.scale, known, o.how, t));
    if (is_data(o.format)) return Exit::ok;
    const auto say = [&](const std::string& text) { fmt::print("{}", sentences_in(text, o.format, t.width)); };
    if (o.words.empty())
        say(fmt::format("and {} rows of readings, one open option at a time: {} rows readings\n",
                        l.study.variants.size(), program_name()));
    if (o.words.empty() && o.readings.empty())
        say(fmt::format("and {} joint readings, by name (runs/readings.toml): {} table ROWS --by-reading\n",
                        l.study.joint.size(), program_name()));
    for (const Row& r : l.rows) // the whole list would have too many notes
        if (!o.words.empty() && !r.note.empty()) say(fmt::format("{}: {}\n", r.label(), r.note));
    return Exit::ok;
}

namespace {

// The readings that survive stage 1 of the search, by the results so far.
std::vector<Reading> survivors_now(const Study& study, const std::string& own, const std::string& recorded) {
    const Registered all = load_registered(study);
    ControlsOfRows controls;
    return survivors(stage1(all, study, read(own, all.scale), read(recorded, all.scale), controls));
}

Exit sweep_order(const StudyOptions& o) {
    Study study = load_study(find_runs_folder());
    place_backbones(study.rows, o.backbones);
    place_backbones(study.own, o.backbones);
    const Order order = load_order(study);
    if (o.scale != order.scale) fail(Exit::usage, "{} is for --scale {}, not {}", order.file, order.scale, o.scale);
    if (o.seeds || !o.readings.empty() || o.stop_after)
        fail(Exit::usage, "sweep order: leave --seeds, --reading and --stop-after out: {} sets them", order.file);
    SweepOptions s = sweep_options(o);
    s.shard = shard_from(o.shard), s.recorded = study.folder + "/results";
    const auto entries = [&](const Order& part) {
        const bool asks = std::any_of(part.entries.begin(), part.entries.end(), [](auto& e) { return e.survivors; });
        return runs_of(part, study, asks ? survivors_now(study, o.results, s.recorded) : std::vector<Reading>{});
    };
    if (o.status) {
        print_status(entries(order), s);
        return Exit::ok;
    }
    Exit worst = Exit::ok; // one job per run: its number must not depend on the part
    for (const Order& part : s.shard.count == 0 ? std::vector{order} : parts_of(order)) {
        const Exit exit = sweep(all_runs(entries(part)), s);
        if (exit == Exit::interrupted) return exit;
        if (worst == Exit::ok) worst = exit;
    }
    return worst;
}

} // namespace

namespace {

// Replaces a grid's words by its name, which selects its rows.
StudyOptions keep_grid(const StudyOptions& o) {
    if (!o.words.empty())
        fail(Exit::usage, "{} and {}: rows already have their options; leave one of the two out", o.words[0],
             o.grid.empty() ? "--name " + o.name : flag_of(o.grid[0].first));
    if (o.name.empty())
        fail(Exit::usage, "{} {}: add --name NAME, by which table, plot and sweep find these runs",
             flag_of(o.grid[0].first), o.grid[0].second);
    if (o.grid.empty()) fail(Exit::usage, "--name {}: expected options too, e.g. --learning-rate 3e-4,1e-3", o.name);
    shard_from(o.shard); // refuse before anything is stored
    const Study study = load_study(find_runs_folder());
    keep_grid(study, study.scale(o.scale), o.name, o.grid, o.seeds);
    StudyOptions rows = o;
    rows.words = {o.name}, rows.name = "", rows.grid.clear();
    return rows;
}

} // namespace

Exit run_sweep(const StudyOptions& o) {
    if (!o.name.empty() || !o.grid.empty()) {
        const bool is_new = !std::filesystem::exists(grid_file(o.name));
        const StudyOptions rows = keep_grid(o);
        try {
            const Exit exit = run_sweep(rows);
            if (is_new && o.status) std::filesystem::remove(grid_file(o.name)); // it has only been looked at
            return exit;
        } catch (const Error& e) { // refused before any run
            if (is_new && e.exit == Exit::usage) std::filesystem::remove(grid_file(o.name));
            throw;
        }
    }
    if (o.words == std::vector<std::string>{"order"}) return sweep_order(o);
    const Loaded l(o);
    SweepOptions s = sweep_options(o);
    s.shard = shard_from(o.shard);
    if (o.words.empty() && !o.status)
        fail(Exit::usage, "sweep: which rows? an id, a group, FILE.toml or all (fci rows lists them)");
    std::vector<PlannedRun> runs = runs_of(plan(l.rows, *l.scale), o.seeds);
    if (o.stop_after) stop_after(runs, o.stop_after);
    if (o.status) {
        print_status(runs, s);
        return Exit::ok;
    }
    const Exit exit = sweep(runs, s);
    Progress progress(stdout, o.quiet);
    if (const std::string text = not_run(l.rows); !text.empty()) progress.line(text);
    if (exit == Exit::ok && std::filesystem::exists(results_file(s.results, s.scale))) {
        std::string words = o.scale == "small" ? "" : " --scale " + o.scale;
        for (const std::string& reading : o.readings) words += " --reading " + reading;
        if (o.results != default_results) words += " --results " + o.results;
        progress.line(fmt::format("results are in {}; to show them:\n  {} table {}{}", results_file(s.results, s.scale),
                                  program_name(), o.words.empty() ? "all" : fmt::format("{}", fmt::join(o.words, " ")),
                                  words));
    }
    return exit;
}

Exit reproduce(const StudyOptions& o) {
    if (o.words.empty()) fail(Exit::usage, "reproduce: which rows? an id, a group or all (fci rows lists them)");
    Loaded l(o);
    std::vector<Row> indices, text;
    std::copy_if(l.rows.begin(), l.rows.end(), std::back_inserter(indices), measured<Measured::by_index>);
    std::copy_if(l.rows.begin(), l.rows.end(), std::back_inserter(text), measured<Measured::on_file_too>);
    std::erase_if(l.rows, measured<Measured::by_index>);
    if (indices.empty() && text.empty() && !o.data.empty())
        fail(Exit::usage, "--data {}: none of these rows is on HotpotQA: leave it out", o.data);
    const HotpotData data = load_hotpot_data(o.data, o.how.threads); // errors in it show before the work
    if (l.rows.empty()) {
        measure_index_rows(indices, data, o.results, o.how.threads);
        return Exit::ok;
    }
    const int64_t seeds = o.seeds ? o.seeds : 3;
    const std::vector<Case> cases = plan(l.rows, *l.scale);
    const Results recorded = read(l.recorded(), o.scale); // first: a broken file shows before the work
    const Exit swept = sweep(runs_of(cases, seeds), sweep_options(o));
    if (swept == Exit::interrupted) return swept;
    if (!o.data.empty() && !text.empty())
        measure_text_runs(runs_of(plan(text, *l.scale), seeds), data, sweep_options(o));

    const Results own = read(o.results, o.scale);
    fmt::print("\n{}", table_text(lines_of(cases, own, {}, seeds), table_options(o)));
    if (const std::string text = not_run(l.rows); !text.empty()) fmt::print("{}\n", text);
    if (!indices.empty()) measure_index_rows(indices, data, o.results, o.how.threads);
    if (const std::string text = of_other_builds(cases, own, seeds, results_file(o.results, o.scale)); !text.empty())
        fmt::print("{}\n", text);
    int compared = 0;
    const std::vector<std::string> found = differences(cases, own, recorded, seeds, compared);
    if (compared == 0)
        fmt::print("these rows have no recorded results at scale {} in {}\n", o.scale, l.recorded());
    else if (found.empty())
        fmt::print("agrees with {}: {} of {} row{} could be compared\n", l.recorded(), compared, cases.size(),
                   cases.size() == 1 ? "" : "s");
    if (swept != Exit::ok || found.empty()) return swept;
    std::fflush(stdout);
    for (const std::string& text : found) complain("differs: {}\n", text);
    fail(Exit::differs, "{} number{} from {}", found.size(), found.size() == 1 ? " differs" : "s differ", l.recorded());
}

Exit show_table(const StudyOptions& o) {
    expect_results(o.results);
    if (o.claims || o.coverage) return show_claims(o);
    Loaded l(o);
    if (o.registered || o.score) return show_registered(o, l);
    if (o.by_reading && o.readings.empty()) // the rows without a reading come first
        for (Row& r : under(l.rows, l.study.joint)) l.rows.push_back(std::move(r));
    TableOptions t = table_options(o);
    t.recorded = l.recorded();
    const Results own = read_for_table(o.results, o.scale, l.rows),
                  recorded = read_for_table(t.recorded, o.scale, l.rows);
    const std::vector<Line> lines = lines_of(plan(l.rows, *l.scale), own, recorded, o.seeds);
    if (o.by_reading) {
        fmt::print("{}", by_reading_text(lines, t));
        return Exit::ok;
    }
    fmt::print("{}", table_text(lines, t));
    std::vector<Row> without = l.rows;
    for (const Line& line : lines)
        if (line.on || line.ran) std::erase_if(without, [&](const Row& r) { return r.label() == line.of.row.label(); });
    if (!is_data(t.format))
        if (const std::string text = not_run(without); !text.empty())
            fmt::print("{}", sentences_in(text + "\n", t.format, t.width));
    return Exit::ok;
}

Reading one_reading(const Study* study, const std::string& word) {
    const std::vector<Reading> found =
        select_readings(study                                     ? study->joint
                        : word.find(".toml") == std::string::npos ? load_study(find_runs_folder()).joint
                                                                  : std::vector<Reading>{},
                        {word});
    if (found.size() != 1)
        fail(Exit::usage, "--reading {} names {} readings, expected one: {} or another of them", word, found.size(),
             found[0].word);
    return found[0];
}

void apply_reading(Options& o, const std::string& word, const Given& given) {
    if (!o.run.resume.empty())
        fail(Exit::usage,
             "--reading {} and --resume: a resumed run has the options it was started with; leave "
             "--reading out",
             word);
    if (!o.train.data.empty() && !task_of(o.task).is_text)
        fail(Exit::usage, "--reading {} and --data: a reading cannot change existing sequences; leave one of them out",
             word);
    Settings s = one_reading(nullptr, word).of_task(o.task);
    for (const auto& [key, value] : given) std::erase(s.keys, key);
    s.apply(o);
}

} // namespace fci
