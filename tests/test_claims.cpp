// The paper's claims: reading the file, judging claims by their rows' verdicts, and counting how much has run.
#include <set>

#include "study/claims.h"
#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/data.h"

using namespace fci;

namespace {

const Voice pro{Speaks::for_it, false, true}, few{Speaks::for_it, true, true}, against{Speaks::against, false, true},
    against_few{Speaks::against, true, true}, tie{Speaks::tie, false, true}, neither{Speaks::neither, false, true},
    absent{};

std::string rolled(const std::vector<Voice>& low, const std::vector<Voice>& high) {
    return rolled_up({{"3e-4", low}, {"1e-3", high}});
}

Line line(const std::string& paper, double ours, double chance, int seeds) {
    Line l;
    l.quantity = "routing", l.paper = paper, l.of.learning_rate = 1e-3, l.ran = true;
    l.ours = summarise(std::vector<double>(seeds, ours), 10000);
    l.ours.chance = chance, l.ours.paper_chance = 2;
    return l;
}

std::string claim(const std::string& rows, const std::string& more = "") {
    return "[[claim]]\nid = \"c\"\nwords = \"It is so\"\nwhy = \"because\"\nrows = [" + rows + "]\n" + more;
}

std::string single_spaced(std::string s) {
    for (size_t at; (at = s.find("  ")) != std::string::npos;) s.erase(at, 1);
    return s;
}

} // namespace

TEST_CASE("claims: what the rows' voices come to", "[study][claims]") {
    const struct {
        std::vector<Voice> low, high;
        const char* text;
    } cases[] = {
        {{pro}, {pro}, "holds"},
        {{pro, pro}, {pro, few}, "provisional: holds"},
        {{pro, tie}, {pro, tie}, "holds by a tie"},
        {{pro}, {tie}, "holds at 3e-4; holds by a tie at 1e-3"},
        {{against}, {pro}, "holds at 1e-3 only"},
        {{pro}, {against_few}, "provisional: holds at 3e-4 only"},
        {{tie}, {against}, "holds by a tie at 3e-4 only"},
        {{pro, against}, {against, absent}, "does not hold"}, // one is enough
        {{against_few, against}, {against}, "does not hold"}, // and so is one on 3 seeds
        {{against_few, pro}, {against}, "provisional: does not hold"},
        {{absent}, {absent}, "not yet known (0 of 1 row run)"},
        {{pro, absent}, {pro, absent}, "not yet known (1 of 2 rows run)"},
        {{absent, absent},
         {pro, absent},
         "not yet known (0 of 2 rows run) at 3e-4; not yet known (1 of 2 rows run) at 1e-3"},
        {{absent}, {pro}, "holds at 1e-3; not yet known (0 of 1 row run) at 3e-4"},
        {{absent}, {against}, "does not hold at 1e-3; not yet known (0 of 1 row run) at 3e-4"},
        {{neither}, {neither}, "inconclusive"},
        {{neither, pro}, {against, pro}, "does not hold at 1e-3; inconclusive at 3e-4"},
    };
    for (const auto& c : cases) {
        INFO(c.text);
        CHECK(rolled(c.low, c.high) == c.text);
    }
    CHECK(rolled_up({{"", {few}}}) == "provisional: holds");
    CHECK(rolled_up({{"a", {pro}}, {"b", {pro}}, {"c", {against}}}) == "holds at a and b only");
    CHECK(rolled_up({{"a", {pro}}, {"b", {against}}, {"c", {absent}}}) ==
          "holds at a; does not hold at b; not yet known (0 of 1 row run) at c");
}

TEST_CASE("claims: why, by the pattern of outcomes", "[study][claims]") {
    Line missing;
    const Line routes = line("1.6", 99, 6, 3), fails = line("99", 6, 6, 3), between = line("99", 50, 6, 3),
               as_paper = line("99", 99, 6, 3), both_at_chance = line("1.6", 6, 6, 3);
    Line low = line("1.6", 98, 6, 3), tied = line("<=2.5", 0, 6, 3), no_jump = line("10", 0, 6, 0),
         unclear = line("1.6", 6, 6, 3), rank = line("1.6", 200, 0, 3);
    low.of.learning_rate = 3e-4, tied.ours.tie = true, no_jump.ours.without = 1, no_jump.quantity = "transition_epoch";
    unclear.ours = summarise({1, 50, 2}, 10000), unclear.of.learning_rate = 3e-4, rank.quantity = "rank",
    rank.ours = summarise({200, 200, 200}, 0);
    const auto why_of = [](const std::vector<std::vector<const Line*>>& at_rates,
                           const std::vector<const Line*>& under = {}) {
        Judged j;
        j.under = under;
        for (size_t i = 0; i < at_rates[0].size(); ++i) {
            j.rows.emplace_back().id = std::string(1, static_cast<char>('a' + i));
            for (const auto& at : at_rates)
                if (at[i] && j.rows[i].paper.empty() && !at[i]->paper.empty())
                    j.rows[i].paper = {{at[i]->quantity, at[i]->paper}};
        }
        j.at_rates = at_rates;
        return reason(j);
    };
    CHECK(why_of({{&low}, {&routes}}) == "a routes at 3e-4 and 1e-3 (98.0 and 99.0; paper 1.6)");
    CHECK(why_of({{&as_paper}, {&fails}}) == "a is at chance at 1e-3 (6.0; paper 99)");
    CHECK(why_of({{&between}}) == "a is between chance and routing at 1e-3 (50.0; paper 99)");
    CHECK(why_of({{&no_jump}}) == "a has no transition at 1e-3 (paper 10)");
    CHECK(why_of({{&rank}}) == "a has another number at 1e-3 (200.0; paper 1.6)");
    CHECK(why_of({{&fails, &routes, &between, &as_paper}}) ==
          "a is at chance at 1e-3 (6.0; paper 99); b routes at 1e-3 (99.0; paper 1.6) and 1 more");
    CHECK(why_of({{&missing, &as_paper, nullptr}}) == "not run: a, c");
    CHECK(why_of({{&unclear, &as_paper}}) == "inconclusive: a at 3e-4");
    CHECK(why_of({{&tied, &as_paper}}) == "by the order of equal scores alone");
    CHECK(why_of({{&as_paper}, {&as_paper}}) == "as in the paper");
    CHECK(why_of({{&missing}, {&as_paper}}) == "as in the paper, where it ran");
    CHECK(why_of({{&both_at_chance}}) == "at chance, as the paper's");
    CHECK(why_of({{&as_paper}}, {&as_paper}) == "as in the paper");
    CHECK(why_of({{&as_paper}}, {&fails}) ==
          "as in the paper; under the best reading a is at chance at 1e-3 (6.0; paper 99)");
    CHECK(why_of({{&between}}, {&fails}) == "a is between chance and routing at 1e-3 (50.0; paper 99)");
}

TEST_CASE("claims: a row speaks by its verdict", "[study][claims]") {
    const auto speaks = [](const Line& l) { return voice_of(l).speaks; };
    CHECK(speaks(line("99", 99, 6, 3)) == Speaks::for_it);
    CHECK(speaks(line("1.6", 6, 6, 3)) == Speaks::for_it); // both at chance
    CHECK(speaks(line("1.6", 99, 6, 3)) == Speaks::against);
    Line l = line("<=2.5", 0, 6, 3);
    CHECK(speaks(l) == Speaks::for_it);
    l.ours.tie = true;
    CHECK(speaks(l) == Speaks::tie);
    CHECK((!voice_of(l).provisional && voice_of(line("99", 99, 6, 2)).provisional));
    l.ours.tested = false; // a row whose control fails counts like one that has not run
    CHECK((speaks(l) == Speaks::neither && !voice_of(l).ran));
    l = line("1.6", 50, 6, 3);
    l.ours.converged = 1;
    CHECK((speaks(l) == Speaks::neither && voice_of(l).ran));
    l = line("99", 99, 6, 3);
    l.on = MeasuredOn{"sample.json", "h", 500, 1000, false};
    CHECK((speaks(l) == Speaks::neither && !voice_of(l).ran));
    l.on = MeasuredOn{"hotpot_dev_distractor_v1.json", "h", 7405, 46320117, false};
    CHECK((speaks(l) == Speaks::for_it && !voice_of(l).provisional)); // for an index, one measurement is all there is
    CHECK((!voice_of(Line{}).ran && speaks(Line{}) == Speaks::neither));
}

TEST_CASE("claims: the file, and what it may not say", "[study][claims]") {
    const Claims c = read_claims("reading = \"r\"\n" + claim("\"f2.raw\"", "quantity = \"rank\"\n"), "c.toml");
    CHECK((c.reading == "r" && c.all.size() == 1 && c.all[0].quantity == "rank" && c.all[0].line == 2));
    const struct {
        std::string toml, message;
    } bad[] = {
        {"readin = \"r\"\n", ":1: readin: unknown key, expected reading or [[claim]]"},
        {claim("\"a\"", "quantty = \"rank\"\n"), "[[claim]] quantty: must be one of"},
        {claim("\"a\"", "quantity = \"rnk\"\n"), "quantity = rnk: must be one of"},
        {"[[claim]]\nid = \"c\"\n", ":1: a [[claim]] needs id, words, rows and why"},
        {claim(""), ":1: a [[claim]] needs id"},
        {claim("3"), ":5: rows: expected a string"},
        {claim("\"a\"") + claim("\"b\""), ":6: two claims have the id c"},
        {"[[claim]]\nid = \"c\"\nwhy = \"a | b\"\n", ":3: why: expected one line, without |"},
    };
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string error = error_of([&] { read_claims(toml, "c.toml"); });
        expect_error(error, Exit::usage, message);
        CHECK(error.find("c.toml") != std::string::npos);
    }
}

TEST_CASE("claims: each stands under every reading of the search, and every row of a table is in one",
          "[study][claims]") {
    const Study study = load_study(find_runs_folder());
    const Claims claims = load_claims(study);
    std::vector<Row> rows;
    for (const Claim& c : claims.all)
        for (Row& r : study.select(c.rows)) rows.push_back(std::move(r));
    CHECK_NOTHROW(plan(under(rows, study.joint), study.scale("paper")));
    std::set<std::string> families; // a row of the paper belongs to a claim through its runs
    for (const Case& c : plan(rows, study.scale("paper"))) families.insert(family_hash(c.options));
    for (const Case& c :
         plan(study.select({"table1", "table3", "figure2", "figure3", "figure4", "figure5", "section46"}),
              study.scale("paper")))
        if (c.row.needs.empty() && !families.contains(family_hash(c.options)) &&
            c.row.group != "figure4") // not all of its segment routers exist here
            FAIL_CHECK(c.row.label() << " is under no claim");
}

TEST_CASE("claims: the table and the coverage, of a study of two rows", "[study][claims]") {
    const Scratch scratch;
    const std::string runs = scratch / "runs";
    std::filesystem::create_directories(runs);
    const auto write = [&](const char* name, const std::string& text) {
        write_file_atomically(runs + "/" + name, text);
    };
    write("scales.toml", "[paper]\nlearning_rates = [3e-4, 1e-3]\nsequences = 64\n");
    write("a.toml", "[[row]]\nid = \"a.raw\"\ntask = \"mqar\"\nrepresentation = \"raw\"\npaper = { routing = \"25\" }\n"
                    "[[row]]\nid = \"a.one\"\ntask = \"mqar\"\nrepresentation = \"transformer:1\"\n"
                    "paper = { routing = \"100\" }\n"
                    "[[row]]\nid = \"a.big\"\npaper = { routing = \"35\" }\nneeds = \"weights\"\n");
    write("readings.toml", "[[joint]]\nname = \"marker\"\nquery_row = \"marker\"\nlearning_rate = 1e-3\n");
    write("claims.toml", "reading = \"marker\"\n" + claim("\"a.one\", \"a.raw\", \"a.big\""));
    const Study study = load_study(runs);
    const auto add = [&](const char* row, size_t rate, const char* reading, int64_t seed, double routing,
                         bool its_data = true) {
        std::vector<Row> rows = study.select({row});
        if (*reading) rows = under(rows, select_readings(study.joint, {reading}));
        Result r;
        r.options = plan(rows, study.scale("paper"))[rate].seeded(seed);
        r.hash = run_hash(r.options), r.scale = "paper", r.seed = seed, r.queries = 1000;
        r.metrics.at_k = routing, r.chance.at_k = 25, r.curve = {{1, routing, 1, 1}};
        Options o;
        o.task = r.options.task, o.train = r.options.train, o.run.threads = 1;
        const TrainerData data = make_data(o);
        r.provenance = provenance_json(r.options, its_data ? hash_of(data.train, data.test) : 0);
        append_result(runs + "/results", r);
    };
    TableOptions o;
    o.scale = "paper", o.format = "csv";
    const auto shown = [&](bool coverage = false) {
        std::vector<std::string> notes;
        const Results results(runs + "/results", "paper", notes);
        const Scale& scale = study.scale("paper");
        return single_spaced(coverage ? coverage_text(study, scale, {}, results, o)
                                      : claims_text(load_claims(study), study, scale, {}, results, o));
    };
    const auto expect = [](const std::string& text, const std::string& part) {
        INFO(text << "\n" << part);
        CHECK(text.find(part) != std::string::npos);
    };
    expect(shown(), "claim,paper,\"ours, 3e-4\",\"ours, 1e-3\",\"ours, best reading\",seeds,holds?,why\n"
                    "It is so (a.one / a.raw / a.big),100 / 25 / 35,not run,not run,not run,\"0, 0, 0\","
                    "not yet known (0 of 3 rows run),\"not run: a.one, a.raw and 1 more; because\"\n");
    expect(shown(true), "not run yet,2,2,2\nneeds missing data or weights,1,1,1\n");
    for (const int seed : {1, 2, 3}) add("a.one", 1, "", seed, 100);
    add("a.raw", 1, "", 1, 100), add("a.raw", 0, "", 1, 25);
    expect(shown(), ",- / 25.0 / -,100.0 / 100.0 / -,not run,\"0-1, 0-3, 0\","
                    "provisional: does not hold at 1e-3; not yet known (1 of 3 rows run) at 3e-4,"
                    "a.raw routes at 1e-3 (100.0; paper 25); because\n");
    add("a.raw", 0, "marker", 1, 24.7);
    expect(shown(), "-,- / 24.7 / -,\"0-1, 0-3, 0-1\",");
    expect(shown(), "at 3e-4; best reading: not yet known (1 of 3 rows run),a.raw routes");
    write("claims.toml", "reading = \"marker\"\n" + claim("\"a.raw\""));
    expect(shown(),
           "25,25.0,100.0,24.7,\"1, 1, 1\",provisional: holds at 3e-4 only; best reading: provisional: holds,");
    add("a.raw", 0, "marker", 1, 24.7, false); // on data of another law: untested
    expect(shown(), "only,a.raw routes at 1e-3 (100.0; paper 25); because");
    write("claims.toml", "reading = \"marker\"\n" + claim("\"a.one\", \"a.raw\", \"a.big\""));
    expect(shown(true), "seeds,ids at 3e-4,ids at 1e-3,at all rates\n3 or more,0,1,0\n2,0,0,0\n1,1,1,1\n"
                        "not run yet,1,0,1\n");
    o.format = "md";
    expect(shown(), "| It is so (`a.one` / `a.raw` / `a.big`) |");
    expect(shown(), "best reading: marker, as " + runs + "/claims.toml names it");
    expect(shown(true), "3 ids of the paper, at scale paper");

    write("claims.toml", claim("\"a.rwa\""));
    expect_error(error_of([&] { load_claims(study); }), Exit::usage, "claims.toml:1: claim c: a.rwa: no such row");
    write("claims.toml", claim("\"a.raw\"", "quantity = \"rank\"\n"));
    expect_error(error_of([&] { load_claims(study); }), Exit::usage, "the paper has no rank of the row a.raw");
}

TEST_CASE("claims: the tables, as people ask for them", "[study][claims][cli]") {
    expect_ran(run({"table", "--claims", "--scale", "paper"}), 0, "holds?");
    expect_ran(run({"table", "--claims", "--scale", "paper", "--reading", "marker-early-same-everywhere"}), 0,
               "best reading: marker-early-same-everywhere");
    expect_ran(run({"table", "--coverage", "--scale", "paper", "--format", "md"}), 0, "| 3 or more |");
    expect_refused(run({"table", "--claims"}), 2, "--claims is for --scale paper, not small");
    expect_refused(run({"table", "f2.raw", "--coverage", "--scale", "paper"}), 2, "leave f2.raw out");
    expect_refused(run({"table", "--claims", "--scale", "paper", "--reading", "search"}), 2, "expected one");
    expect_refused(run({"table", "--coverage", "--scale", "paper", "--reading", "search"}), 2, "leave --reading out");
    expect_ran(run({"table", "--claims", "--coverage"}), 2, "excludes");
}
