// Rows: those in runs/, refused ones, their runs and hashes, and the runs that a process gets. Their results are in
// test_results.cpp, the commands in faults/test_study_commands.cpp.
#include <map>
#include <set>
#include <sstream>

#include "core/files.h"
#include "study/plan.h"
#include "study/results.h"
#include "study/sweep.h"
#include "study/verdict.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

namespace {

const Study& study() {
    static const Study s = load_study(find_runs_folder());
    return s;
}

Options options(const std::string& toml) {
    Options o;
    read_toml(o, toml, "test");
    return o;
}

std::string hash(const std::string& toml) { return run_hash(options(toml)); }

} // namespace

TEST_CASE("rows: the 76 numbers of the paper are rows, each with values that can be read", "[study]") {
    std::set<std::string> ids, labels;
    for (const Row& r : study().rows) {
        INFO(r.label());
        ids.insert(r.id);
        CHECK(labels.insert(r.label()).second);
        CHECK_FALSE(r.where.empty());
        CHECK_FALSE(r.paper.empty());
        for (const auto& [quantity, value] : r.paper) CHECK(parse_paper(value));
    }
    CHECK(ids.size() == 76);
    CHECK(labels.size() == 79);             // two have a second reading
    for (const Scale& s : study().scales) { // all their options fit their task at every scale
        CHECK(plan(study().rows, s).size() >= labels.size());
        CHECK(plan(study().variants, s).size() >= 90);
    }
}

TEST_CASE("rows: a row is found by id, group or file, once", "[study]") {
    const auto count = [](const std::vector<std::string>& words) { return study().select(words).size(); };
    CHECK(count({"t1.raw"}) == 1);
    CHECK(count({"t1.raw", "t1.raw", "table1"}) == 5);
    CHECK(count({"t2.rank1proj"}) == 2);
    CHECK(count({"table1", study().folder + "/table1.toml"}) == 5);
    CHECK(count({"all"}) == 79);
    CHECK(count({"readings"}) == 113);
    CHECK(study().select({"f2.raw@positions=none"})[0].settings.values.model.positions == "none");
    expect_error(error_of([&] { count({"t1.rwa"}); }), Exit::usage, "did you mean 't1.raw'?");
    expect_error(error_of([&] { count({"tabel1"}); }), Exit::usage, "did you mean 'table1'?");
    expect_error(error_of([&] { count({study().folder + "/table9.toml"}); }), Exit::bad_data,
                 "table9.toml: cannot be read");
    CHECK(count({"own/text", study().folder + "/own/text.toml"}) == count({"own/text"}));
    CHECK(count({"own.text.raw"}) == 1);
    expect_error(error_of([&] { count({"own/txet"}); }), Exit::usage, "did you mean 'own/text'?");
    expect_error(error_of([&] { study().scale("papper"); }), Exit::usage, "did you mean 'paper'?");
}

TEST_CASE("rows: a wrong row file is refused by file, line and nearest key", "[study]") {
    const struct {
        std::string toml, message;
    } bad[] = {
        {"[[row]]\nid = \"a\"\ntop_q = 4\n", ":3: top_q: no such option; did you mean 'top_k'?"},
        {"[[row]]\nid = \"a\"\nwher = \"b\"\n", ":3: wher: no such option; did you mean 'where'?"},
        {"[[row]]\nid = \"a\"\ntop_k = \"4\"\n", ":3: top_k: expected an integer"},
        {"[[row]]\nid = 3\n", ":2: id: expected a string, in quotes"},
        {"[[row]]\nwhere = \"a\"\n", ":1: a [[row]] needs an id"},
        {"[[row]]\nid = \"a\"\nrouter = \"rank2\"\n", ":3: router = rank2: must be one of"},
        {"[[row]]\nid = \"a\"\npaper = { routin = \"1\" }\n", ":3: routin: no such quantity; did you mean 'routing'?"},
        {"[[row]]\nid = \"a\"\npaper = { routing = 1 }\n", ":3: routing: expected a string, in quotes"},
        {"[[row]]\nid = \"a\"\npaper = { routing = \"1%\" }\n", ":3: routing = \"1%\": a value is written"},
        {"[[row]]\nid = \"a\"\npaper = \"1\"\n", ":3: paper: expected a table"},
        {"[[row]]\nid = \"a\"\nneeds = \"weights\"\ntop_k = 4\n", ":4: top_k: a row that needs weights is not run"},
        {"[[row]]\nid = \"a\"\n[[row]]\nid = \"a\"\n", ":3: two rows have the id a"},
        {"row = 3\n", ":1: [[row]]: expected an array"},
        {"[[raw]]\nid = \"a\"\n", "raw: unknown key, expected [[row]], [[readings]] or [[joint]]"},
        {"[[readings]]\nrows = [\"t1.rwa\"]\n", ":2: t1.rwa: no such row; did you mean 't1.raw'?"},
        {"[[readings]]\nrows = [\"t1.raw\"]\npositions = \"none\"\n", ":3: positions: expected an array"},
        {"[[row]\n", "not TOML"},
        {"", "there is no [[row]] in it"},
    };
    const Scratch scratch;
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string path = scratch / "a.toml";
        write_file_atomically(path, toml);
        const std::string error = error_of([&] { study().select({path}); });
        expect_error(error, Exit::usage, message);
        CHECK(error.find(path) != std::string::npos);
    }
    write_file_atomically(scratch / "a.toml", "[[row]]\nid = \"a\"\ntask = \"mqar\"\nn_distractors = 2\n");
    const std::vector<Row> rows = study().select({scratch / "a.toml"});
    expect_error(error_of([&] { plan(rows, study().scale("small")); }), Exit::usage,
                 "a.toml:1: row a at scale small: --n-distractors 2 belongs to --task der");
}

TEST_CASE("rows: a wrong scale file is refused by line and nearest key", "[study]") {
    const struct {
        std::string toml, message;
    } bad[] = {
        {"[a]\nlearning_rates = [1e-3]\nepoch = 3\n", ":3: epoch: no such option; did you mean 'epochs'?"},
        {"[a]\nlearning_rates = [1e-3]\n[a.dre]\nlength = 3\n", ":3: dre: no such task; did you mean 'der'?"},
        {"[a]\nlearning_rates = [1e-3]\n[a.der]\nlenght = 3\n", ":4: lenght: no such option; did you mean 'length'?"},
        {"[a]\nlearning_rate = [1e-3]\n", ":2: learning_rate: expected a number"},
        {"[a]\nlearning_rates = 1e-3\n", ":2: learning_rates: expected an array"},
        {"[a]\nlearning_rates = [\"fast\"]\n", ":2: learning_rates: expected numbers"},
        {"[a]\nepochs = 3\n", ":1: a: a scale needs learning_rates"},
        {"a = 3\n", ":1: a: expected a table"},
    };
    const Scratch scratch;
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        write_file_atomically(scratch / "scales.toml", toml);
        expect_error(error_of([&] { load_study(scratch.path); }), Exit::usage, "scales.toml" + message);
    }
}

TEST_CASE("rows: a scale changes what a row leaves open", "[study]") {
    const std::vector<Row> rows =
        study().select({"t1.raw", "f2.raw", "f4.bloom", "t1.bm25", "f2.raw@learning_rate=0.003"});
    const std::vector<Case> small = plan(rows, study().scale("small")), paper = plan(rows, study().scale("paper"));
    REQUIRE(small.size() == 5);
    CHECK(small[0].options.task.length == 128);
    CHECK(small[0].options.task.min_distance == 200); // only for der
    CHECK(small[1].options.task.min_distance == 50);
    CHECK(small[1].options.train.epochs == 20);
    REQUIRE(paper.size() == 7);
    CHECK(paper[0].learning_rate == 3e-4);
    CHECK(paper[1].learning_rate == 1e-3);
    CHECK(paper[1].options.train.learning_rate == 1e-3);
    CHECK_FALSE(paper[4].learning_rate); // a Bloom filter learns nothing
    CHECK(paper[5].row.needs == "hotpotqa");
    CHECK(paper[6].learning_rate == 3e-3); // the row's own
    CHECK(small[4].learning_rate == 3e-3);
    CHECK(runs_of(paper, 2).size() == 2 * (2 + 2 + 1 + 1));
}

TEST_CASE("rows: options that come to the same are one run, others are not", "[study]") {
    const struct {
        std::string a, b;
    } same[] = {
        {"", "task = \"mqar\"\nlength = 256\nvocab = 256\n"},
        {"task = \"der\"", "task = \"der\"\nlength = 512\n"},
        {"", "n_distractors = 3\nmin_distance = 7\nanswer_side = \"either\"\nquery_at = \"fixed\""},
        {"task = \"der\"", "task = \"der\"\nquery_at = \"uniform\"\nquery_row = \"key\""},
        {"task = \"der\"", "task = \"der\"\npairs = 3\n"},
        {"", "representation = \"transformer\""},
        {"", "random_non_queries = true"},
        {"", "bandit_context = \"product\"\nmean_residual = true\ncontrastive_target = \"embeddings\""},
        {"representation = \"content-only\"", "representation = \"content-only\"\npositions = \"none\""},
        {"representation = \"raw\"\npositions = \"none\"", "representation = \"content-only\""},
        {"representation = \"raw\"\npositions = \"in_mixer\"", "representation = \"raw\"\npositions = \"none\""},
        {"representation = \"causal-transformer\"",
         "representation = \"causal-transformer:1\"\npositions = \"in_mixer\""},
        {"router = \"bloom\"", "router = \"bloom\"\nlearning_rate = 1.0\nrepresentation = \"raw\"\nepochs = 3"},
        {"router = \"none\"", "router = \"none\"\ntop_k = 7\nrouter_norm = true"},
        {"", "router_norm = false"},
        {"", "threads = 3\ndevice = \"cpu\"\nquiet = true"},
    };
    for (const auto& [a, b] : same) {
        INFO(a << " and " << b);
        CHECK(hash(a) == hash(b));
    }
    const std::string others[] = {
        "",
        "seed = 2",
        "task = \"der\"",
        "task = \"der\"\nn_distractors = 3",
        "task = \"der\"\nn_distractors = 0",
        "task = \"der\"\nvariant = \"near\"",
        "task = \"der\"\nquery_row = \"marker\"",
        "task = \"der\"\nquery_at = \"early\"",
        "task = \"der\"\nquery_at = \"fixed\"",
        "task = \"der\"\nquery_at = \"fixed\"\nquery_row = \"marker\"",
        "query_row = \"marker\"",
        "length = 128",
        "pairs = 8",
        "queries = \"many\"\nlength = 256",
        "queries = \"many\"\nrandom_non_queries = true",
        "representation = \"raw\"",
        "representation = \"raw\"\npositions = \"none\"",
        "representation = \"transformer:2\"",
        "representation = \"global-mean\"",
        "representation = \"global-mean\"\nmean_residual = true",
        "router = \"rank1\"",
        "router_norm = true",
        "router = \"linucb\"",
        "router = \"linucb\"\nbandit_context = \"product\"",
        "router = \"bloom\"",
        "router = \"bloom\"\nsequences = 100",
        "learning_rate = 1e-3",
        "contrastive = \"frozen\"",
        "contrastive = \"frozen\"\ncontrastive_target = \"embeddings\"",
        "epochs = 20",
        "top_k = 2",
    };
    std::set<std::string> hashes;
    for (const std::string& o : others) {
        INFO(o);
        CHECK(hashes.insert(hash(o)).second);
        const Options once = canonical(options(o)), twice = canonical(once);
        CHECK(write_toml(once) == write_toml(twice));
        Options resolved = once;
        if (resolved.model.router != "linucb" && resolved.model.representation != "global-mean") resolve(resolved);
        CHECK(run_hash(resolved) == hash(o));
    }
    // Recorded results are found by these hashes: an option that a later version adds must not change them.
    CHECK(hash("") == "ef46db3751d8e999");
    CHECK(hash("task = \"der\"\nrepresentation = \"raw\"\nseed = 3") == "35dae2fd0fc450c3");
    for (const char* scale : {"paper", "small"}) { // and lines written before that option existed have the same hash
        std::vector<std::string> notes;
        const Results recorded(study().folder + "/results", scale, notes);
        CAPTURE(scale, notes);
        CHECK(recorded.all().size() > 70);
        CHECK(notes.empty()); // no "has another hash than this version computes from its options"
        // Every line, also of runs that have a later line; above, only the later one counts.
        size_t without = 0; // lines without the newest option
        std::istringstream lines(read_file(results_file(study().folder + "/results", scale)));
        for (std::string line; std::getline(lines, line);) {
            bool renamed = false;
            const auto r = from_json(line, "the record", nullptr, &renamed);
            CHECK_FALSE(renamed);
            without += r && r->provenance.find("\"query_at\"") == std::string::npos;
        }
        CHECK(without > 70);
    }
}

TEST_CASE("rows: which part of a sweep a process does", "[study]") {
    const std::vector<const char*> names{"SLURM_ARRAY_TASK_ID",   "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
                                         "SLURM_ARRAY_TASK_STEP", "JOB_COMPLETION_INDEX",   "JOB_COMPLETIONS"};
    const auto with = [&](const std::map<std::string, std::string>& variables, const std::string& flag = "") {
        for (const char* n : names) ::unsetenv(n);
        for (const auto& [n, value] : variables) ::setenv(n.c_str(), value.c_str(), 1);
        Shard s;
        const std::string error = error_of([&] { s = shard_from(flag); });
        for (const char* n : names) ::unsetenv(n);
        return error.empty() ? fmt::format("{} of {}", s.index, s.count) : error;
    };
    CHECK(with({}) == "0 of 1");
    CHECK(with({}, "1/4") == "0 of 4");
    CHECK(with({}, "4/4") == "3 of 4");
    CHECK(with({{"SLURM_ARRAY_TASK_ID", "3"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}) == "3 of 4");
    CHECK(with({{"SLURM_ARRAY_TASK_ID", "4"}, {"SLURM_ARRAY_TASK_COUNT", "4"}, {"SLURM_ARRAY_TASK_MIN", "1"}}) ==
          "3 of 4");
    CHECK(with({{"SLURM_ARRAY_TASK_ID", "20"},
                {"SLURM_ARRAY_TASK_COUNT", "3"},
                {"SLURM_ARRAY_TASK_MIN", "10"},
                {"SLURM_ARRAY_TASK_STEP", "5"}}) == "2 of 3");
    CHECK(with({{"SLURM_ARRAY_TASK_ID", "7"}}) == "7 of 0"); // one job per run
    CHECK(with({{"JOB_COMPLETION_INDEX", "2"}, {"JOB_COMPLETIONS", "3"}}) == "2 of 3");
    CHECK(with({{"JOB_COMPLETION_INDEX", "2"}}) == "2 of 0");
    CHECK(with({{"JOB_COMPLETION_INDEX", "2"}}, "1/1") == "0 of 1"); // the flag has priority
    for (const char* flag : {"0/4", "5/4", "1/0", "-1/4", "1", "a/4", "1/b", "1/", "/4"}) {
        INFO(flag);
        expect_error(with({}, flag), Exit::usage, "--shard");
    }
    expect_error(with({{"SLURM_ARRAY_TASK_ID", "4"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}), Exit::usage,
                 "SLURM_ARRAY_TASK_ID 4: out of range");
    expect_error(with({{"SLURM_ARRAY_TASK_ID", "0"}, {"SLURM_ARRAY_TASK_MIN", "1"}}), Exit::usage, "out of range");
    expect_error(with({{"SLURM_ARRAY_TASK_ID", "a"}}), Exit::usage, "SLURM_ARRAY_TASK_ID 'a'");
    expect_error(with({{"JOB_COMPLETION_INDEX", "3"}, {"JOB_COMPLETIONS", "3"}}), Exit::usage, "out of range");
    // One job per run, and fewer runs than jobs.
    const std::vector<PlannedRun> runs = runs_of(plan(study().select({"t1.raw"}), study().scale("smoke")), 2);
    SweepOptions o;
    o.quiet = true, o.shard = {2, 0};
    expect_error(error_of([&] { sweep(runs, o); }), Exit::usage, "job 2: with one job per run and 2 runs");
}
