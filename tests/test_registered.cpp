// Registered expectations: reading the file, showing it beside the outcomes, and checking that every recorded result
// came from a build whose commit had the same entry.
#include <simdjson.h>

#include <map>
#include <set>

#include "study/registered.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

namespace {

const Study& study() {
    static const Study s = load_study(find_runs_folder());
    return s;
}

// The output of git in the repository that holds `folder`; nullopt if it fails.
std::optional<std::string> git(const std::string& folder, const std::string& words) {
    std::FILE* pipe = ::popen(fmt::format("git -C '{}' {} 2>/dev/null", folder, words).c_str(), "r");
    REQUIRE(pipe);
    std::string out(1 << 16, '\0');
    size_t size = 0;
    for (size_t n; (n = std::fread(out.data() + size, 1, out.size() - size, pipe)) > 0;)
        if ((size += n) == out.size()) out.resize(2 * out.size());
    out.resize(size);
    return ::pclose(pipe) == 0 ? std::optional(out) : std::nullopt;
}

// The commit of the build that began a run, without -dirty, and the day of the record.
struct Built {
    std::string commit, date;
    explicit Built(const Result& r) {
        simdjson::dom::parser parser;
        const simdjson::dom::element json = parser.parse(r.provenance);
        simdjson::dom::element first;
        std::string_view git = json["git"], day;
        if (json["started_with"].get(first) == simdjson::SUCCESS) git = first["git"];
        commit = git.substr(0, git.find('-'));
        if (json["date"].get(day) == simdjson::SUCCESS) date = day;
    }
};

// A commit: whether it is in the history of HEAD, and its registered entries.
struct Then {
    bool in_history = false;
    std::optional<Registered> registered;

    Then(const std::string& folder, const std::string& commit) {
        in_history = git(folder, fmt::format("merge-base --is-ancestor {} HEAD", commit)).has_value();
        const auto toml = git(folder, fmt::format("show {}:./registered.toml", commit));
        const auto joint = git(folder, fmt::format("show {}:./readings.toml", commit));
        if (in_history && toml && joint)
            registered = read_registered(*toml, "registered.toml at " + commit,
                                         read_joint(*joint, "readings.toml at " + commit));
    }

    // Null: no entry, or another reading of that name.
    const Expectation* find(const std::string& row, const Reading& reading) const {
        if (!registered) return nullptr;
        for (const Reading& r : registered->readings)
            if (r.name == reading.name && r.settings.keys == reading.settings.keys &&
                write_toml(r.settings.values) == write_toml(reading.settings.values))
                return registered->find(row, r.name);
        return nullptr;
    }
};

struct Faults {
    std::vector<std::string> found;
    int checked = 0, before = 0, unknown = 0; // unknown: commits that a shallow clone lacks
};

// For every recorded result of a registered cell: its build's commit is in the history of HEAD and has the entry as it
// is now; or the file says that the result was recorded before, and that commit had no entry for it. If the commit is
// not in that history, as when a branch was lost, the last commit before the day of the result is used instead.
Faults faults_in(const Study& study, const Registered& all, const Results& recorded) {
    const bool shallow = git(study.folder, "rev-parse --is-shallow-repository").value_or("").starts_with("true");
    Faults f;
    std::map<std::string, Then> commits;
    std::set<std::string> seen;
    for (const Cell& cell : cells_of(all, study))
        for (const Result* r : recorded.of_seeds(cell.of.options, 0)) {
            const Built built(*r);
            const std::string row = cell.of.row.base_label();
            const std::string what =
                fmt::format("{} seed {} ({}, built at {})", cell.of.row.label(), r->seed, r->hash, built.commit);
            seen.insert(r->hash);
            const auto at_commit = [&](const std::string& c) {
                return &commits.try_emplace(c, study.folder, c).first->second;
            };
            const Then* at = at_commit(built.commit);
            if (!at->in_history && shallow) {
                ++f.unknown;
                continue;
            }
            if (!at->in_history && !built.date.empty()) {
                std::string older =
                    git(study.folder, fmt::format("rev-list -1 --before='{} 00:00:00 +0000' HEAD", built.date))
                        .value_or("");
                older.resize(older.find_last_not_of('\n') + 1);
                if (!older.empty()) at = at_commit(older);
            }
            if (!at->in_history) {
                f.found.push_back(what + ": its build's commit is not in this history, nor one of before its day");
                continue;
            }
            const Expectation* then = at->find(row, select_readings(study.joint, {cell.of.row.under})[0]);
            const bool was_before = std::find(all.before.begin(), all.before.end(), r->hash) != all.before.end();
            if (then && *then != cell.expected)
                f.found.push_back(
                    fmt::format("{}: the entry was changed: {}, {}, {}", what, then->expect, then->seen, then->why));
            else if (then)
                ++f.checked;
            else if (was_before)
                ++f.before;
            else
                f.found.push_back(what + ": nothing was registered then, and 'before' does not name it");
        }
    for (const std::string& hash : all.before)
        if (!seen.contains(hash)) f.found.push_back(hash + ": 'before' names it, and no such run is recorded");
    return f;
}

const std::string two_readings =
    "[[joint]]\nname = \"{query_row}-{query_at}\"\nset = \"s\"\nquery_row = [\"key\", \"marker\"]\n"
    "query_at = [\"uniform\", \"fixed\"]\nlearning_rate = 1e-3\n";
std::string entries(const std::string& text, const std::string& before = "") {
    return "set = \"s\"\nscale = \"tiny\"\nbefore = [" + before +
           "]\n[[registered]]\nrows = [\"a.raw\"]\nentries = [\n" + text + "]\n";
}

} // namespace

TEST_CASE("registered: of a row and a reading the first entry that covers both counts", "[study][registered]") {
    const std::vector<Reading> joint = read_joint(two_readings, "r.toml");
    const auto read = [&](const std::string& toml) { return read_registered(toml, "a.toml", joint); };
    const Registered r =
        read(entries("[\"marker-fixed\", \"fails\", \"L 48\", \"x\"],\n[\"key-*\", \"routes\", \"L 512\", \"y\"],\n"
                     "[\"*\", \"open\", \"unseen\", \"z\"],\n"));
    CHECK(r.rows() == std::vector<std::string>{"a.raw"});
    CHECK(*r.find("a.raw", "marker-fixed") == Expectation{"fails", "L 48", "x"});
    CHECK(r.find("a.raw", "key-fixed")->why == "y");
    CHECK(r.find("a.raw", "key-uniform")->expect == "routes");
    CHECK(r.find("a.raw", "marker-uniform")->seen == "unseen");
    CHECK(r.find("a.rwa", "marker-uniform") == nullptr);
    CHECK(r.find("a.raw", "marker") == nullptr);

    const struct {
        std::string toml, message;
    } bad[] = {
        {"scale = \"tiny\"\n", "set = \"...\" is missing"},
        {"set = \"serch\"\nscale = \"tiny\"\n", "there is no such set of readings"},
        {entries("[\"key-*\", \"routes\", \"unseen\", \"y\"],\n"),
         "no entry says what to expect of the row a.raw under marker-uniform"},
        {entries("[\"*\", \"routes\", \"unseen\", \"y\"],\n[\"key-*\", \"fails\", \"unseen\", \"y\"],\n"),
         ":8: entries above this one already cover all that it covers"},
        {entries("[\"*\", \"rout\", \"unseen\", \"y\"],\n"), ":7: expected: rout: must be one of routes, fails, open"},
        {entries("[\"*\", \"open\", \"L 64\", \"y\"],\n"), ":7: seen: L 64: must be one of unseen, L 48, L 128, L 512"},
        {entries("[\"*\", \"open\", \"unseen\", \"\"],\n"), ":7: why: expected a reason in one line"},
        {entries("[\"*\", \"open\", \"unseen\"],\n"),
         ":7: an entry is [readings, expected, seen, why]; this one has 3 parts"},
        {entries("[\"*\", \"open\", \"unseen\", 3],\n"), ":7: entries: expected a string, in quotes"},
        {entries("[\"key-fixd\", \"open\", \"unseen\", \"y\"],\n"),
         ":7: key-fixd: no reading of the set has this name; did you mean 'key-fixed'?"},
        {entries("\"key\",\n"), ":7: entries: expected an array, in [ ]"},
        {entries("", "\"12\""), ":3: before: \"12\" is not the hash of a run"},
        {"set = \"s\"\nscale = \"tiny\"\n[[registered]]\nrow = [\"a\"]\n",
         ":4: [[registered]] row: must be one of rows, entries"},
        {"set = \"s\"\nscale = \"tiny\"\n[[registered]]\nrows = [\"a\"]\n",
         ":3: a [[registered]] needs rows and entries"},
        {"set = \"s\"\nscale = \"tiny\"\nbefor = []\n",
         ":3: befor: unknown key, expected set, scale, before, arithmetic or [[registered]]"},
        {"arithmetic = [\"a.rwa\"]\n" + entries("[\"*\", \"open\", \"unseen\", \"y\"],\n"),
         "arithmetic: nothing is registered for a.rwa; did you mean 'a.raw'?"},
    };
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string error = error_of([&] { read(toml); });
        expect_error(error, Exit::usage, message);
        CHECK(error.find("a.toml") != std::string::npos);
    }
    CHECK(outcome_of(95, 6) == "routes");
    CHECK(outcome_of(94.9, 6) == "between");
    CHECK(outcome_of(9.1, 6) == "between");
    CHECK(outcome_of(9, 6) == "fails");
    CHECK(outcome_of(0, 6) == "fails"); // a tie
}

TEST_CASE("registered: the file covers the search, and cells of one run expect one thing", "[study][registered]") {
    const Registered all = load_registered(study());
    CHECK(all.readings.size() == 24);
    CHECK(all.rows().size() == 16);
    std::map<std::string, Expectation> by_run;
    size_t cells = 0;
    for (const std::string& label : all.rows())
        for (const Reading& r : all.readings) {
            const std::vector<Row> rows = study().select({label});
            for (const Case& c : plan({under(rows[0], r)}, study().scale("paper"))) {
                REQUIRE(rows[0].label() == label);
                const Expectation* e = all.find(label, r.name);
                REQUIRE(e);
                const auto [at, added] = by_run.try_emplace(run_hash(c.options), *e);
                INFO(label << " under " << r.name);
                CHECK((at->second.expect == e->expect && at->second.seen == e->seen));
                ++cells;
            }
        }
    CHECK(cells == 16 * 24); // one learning rate each
    CHECK(cells_of(all, study()).size() == by_run.size());
}

TEST_CASE("registered: every recorded result came after its entry, or is named as recorded before",
          "[study][registered]") {
    if (!git(study().folder, "rev-parse HEAD")) {
        WARN("SKIPPED: no git, or no repository here");
        return;
    }
    std::vector<std::string> notes;
    const Registered all = load_registered(study());
    const Faults f = faults_in(study(), all, Results(study().folder + "/results", all.scale, notes));
    for (const std::string& text : f.found) FAIL_CHECK(text);
    if (f.unknown) WARN("SKIPPED: " << f.unknown << " results, whose commits a shallow clone lacks");
    CHECK(f.checked + f.before + f.unknown >= 18);
}

TEST_CASE("registered: what came without its entry, or under another one, is found", "[study][registered]") {
    if (!git(".", "--version")) {
        WARN("SKIPPED: no git here");
        return;
    }
    const Scratch scratch;
    const std::string runs = scratch / "runs";
    std::filesystem::create_directories(runs);
    const auto commit = [&] {
        REQUIRE(git(scratch.path, "add -A"));
        REQUIRE(git(scratch.path, "-c user.name=a -c user.email=a@b commit --allow-empty -qm x"));
        return git(scratch.path, "rev-parse --short=12 HEAD").value().substr(0, 12);
    };
    const auto write = [&](const char* name, const std::string& text) {
        write_file_atomically(runs + "/" + name, text);
    };
    REQUIRE(git(scratch.path, "init -q"));
    write("scales.toml", "[tiny]\nlearning_rates = [1e-2]\n");
    write("a.toml", "[[row]]\nid = \"a.raw\"\ntask = \"der\"\nrepresentation = \"raw\"\n");
    write("readings.toml", two_readings);
    const std::string nothing = commit();
    const std::string first = "[\"marker-*\", \"fails\", \"unseen\", \"x\"],\n",
                      second = "[\"key-*\", \"open\", \"unseen\", \"y\"],\n";
    write("registered.toml", entries(first + second));
    const std::string registered = commit();

    // One result under each of two readings, built at some commit.
    const Study s = load_study(runs);
    const auto result = [&](const char* reading, const std::string& built, const std::string& more = "") {
        Result r;
        r.options = plan({under(s.rows[0], select_readings(s.joint, {reading})[0])}, s.scale("tiny"))[0].options;
        r.hash = run_hash(r.options), r.scale = "tiny", r.metrics.at_k = 99, r.chance.at_k = 6;
        const std::string p = provenance_json(r.options, 0); // {"git":"...",...
        r.provenance = "{\"git\":\"" + built + "\"," + more + p.substr(p.find("\"compiler\""));
        append_result(runs + "/results", r);
        return r.hash;
    };
    const auto check_now = [&] {
        std::vector<std::string> notes;
        const Study now = load_study(runs);
        return faults_in(now, load_registered(now), Results(runs + "/results", "tiny", notes));
    };
    const auto expect_fault = [&](const std::string& part) {
        const Faults f = check_now();
        REQUIRE(f.found.size() == 1);
        INFO(f.found[0]);
        CHECK(f.found[0].find(part) != std::string::npos);
    };
    CHECK(check_now().found.empty());
    const std::string hash = result("marker-fixed", registered + "-dirty");
    CHECK((check_now().found.empty() && check_now().checked == 1));
    result("marker-fixed", registered, "\"started_with\":{\"git\":\"" + nothing + "\"},");
    expect_fault("nothing was registered then");
    result("marker-fixed", nothing);
    expect_fault("nothing was registered then, and 'before' does not name it");
    result("marker-fixed", "0123456789ab");
    expect_fault("its build's commit is not in this history, nor one of before its day");
    result("marker-fixed", "0123456789ab", "\"date\":\"2099-01-01\","); // a lost branch: its day counts
    CHECK((check_now().found.empty() && check_now().checked == 1));
    result("marker-fixed", "0123456789ab", "\"date\":\"2000-01-01\",");
    expect_fault("nor one of before its day");
    result("marker-fixed", nothing);
    write("registered.toml", entries(first + second, "\"" + hash + "\""));
    CHECK((check_now().found.empty() && check_now().before == 1));
    write("registered.toml", entries(first + second, "\"" + hash + "\", \"0123456789abcdef\""));
    expect_fault("0123456789abcdef: 'before' names it, and no such run is recorded");

    // Changed entries: one of this cell, and one of another.
    result("marker-fixed", registered);
    write("registered.toml", entries(first + "[\"key-*\", \"routes\", \"unseen\", \"y\"],\n"));
    commit();
    CHECK(check_now().found.empty());
    write("registered.toml", entries("[\"marker-*\", \"routes\", \"unseen\", \"x\"],\n" + second));
    commit();
    expect_fault("the entry was changed: fails, unseen, x");
    write("registered.toml",
          entries("[\"marker-*\", \"fails\", \"unseen\", \"better words\"],\n" + second, "\"" + hash + "\""));
    expect_fault("the entry was changed"); // 'before' does not help if the build had another entry
    write("registered.toml", entries(first + second));
    CHECK(check_now().found.empty());
    std::string other = two_readings;
    other.replace(other.find("1e-3"), 4, "2e-3");
    write("readings.toml", other); // the same name for other options: another run, with no result
    CHECK((check_now().found.empty() && check_now().checked == 0));

    // Shown beside the outcome.
    write("readings.toml", two_readings);
    const Study now = load_study(runs);
    const Registered all = load_registered(now);
    std::vector<std::string> notes;
    const Results results(runs + "/results", "tiny", notes);
    TableOptions o;
    o.scale = "tiny";
    const auto text = [&] {
        std::string t = registered_text(all, cells_of(all, now), {}, {}, results, o);
        for (size_t at; (at = t.find("  ")) != std::string::npos;) t.erase(at, 1);
        return t;
    };
    // The exact chance, 4 of the places 251 .. 510, instead of the chance recorded with the result.
    for (const char* part :
         {"a.raw@marker-fixed fails unseen 99.0 (1) 1.5 routes, NOT as expected", "4 runs are registered in",
          "unseen: 1 ran, 0 of 1 forecasts right, 0 open", "seen at some size: 0 ran"}) {
        INFO(text());
        CHECK(text().find(part) != std::string::npos);
    }
    o.format = "csv";
    CHECK(text().find("a.raw@key-uniform,open,unseen,not run,-,-,y") != std::string::npos);
    CHECK(registered_text(all, cells_of(all, now), {"b"}, {}, results, o).find("a.raw") == std::string::npos);
}

TEST_CASE("registered: the table of it, as people ask for it", "[study][registered][cli][recorded]") {
    expect_ran(run({"table", "--registered", "--scale", "paper"}), 0, "forecasts right");
    expect_ran(run({"table", "f2.raw", "--registered", "--scale", "paper", "--format", "md"}), 0, "| why |");
    expect_refused(run({"table", "--registered"}), 2, "is for --scale paper, not small");
    expect_refused(run({"table", "--registered", "--scale", "paper", "--reading", "search"}), 2, "leave --reading out");
    expect_ran(run({"table", "--registered", "--by-reading"}), 2, "excludes");
}
