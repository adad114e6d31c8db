#include "study/flags.h"

namespace fci {
namespace {

const CLI::Validator not_empty([](std::string& s) { return s.empty() ? "a value is wanted here" : ""; }, "");

// What rows, sweep, reproduce and table share.
void add_shared(const std::vector<CLI::App*>& apps, StudyOptions& study) {
    for (CLI::App* app : apps) {
        app->add_option("rows", study.words,
                        app->get_name() == "sweep" ? "ids, groups (table1), FILE.toml, all; or order: runs/order.toml"
                                                   : "ids, groups (table1), FILE.toml, or all");
        app->add_option("--scale", study.scale, "paper, small (default) or smoke: runs/scales.toml");
        app->add_option("--results", study.results, "folder of the results (default runs/out/results)")
            ->check(not_empty);
        app->add_option(
               "--reading", study.readings,
               "the rows under joint readings: a name or set of runs/readings.toml, FILE.toml or FILE.toml:NAME")
            ->check(not_empty)
            ->take_all()
            ->expected(1);
        app->add_option("--threads", study.how.threads, "0: one for each processor")->check(CLI::Range(0, 1024));
    }
}

} // namespace

void add_study_commands(StudyFlags& f, const MakeCommand& command) {
    StudyOptions& o = f.options;
    CLI::App* r = command("rows", "list the paper's rows, and how long they take here",
                          "  fci rows\n"
                          "  fci rows table1 f2.raw --scale paper\n");
    CLI::App* w = command("sweep", "run rows, by any number of processes and machines",
                          "  fci sweep runs/table1.toml --scale small --seeds 3\n"
                          "  fci sweep all --scale paper --shard 2/8\n"
                          "  fci sweep f2.raw --reading marker-fixed-same-everywhere --scale paper\n"
                          "  fci sweep order --scale paper            what runs/order.toml wants next\n"
                          "  fci sweep all --scale paper --status\n");
    CLI::App* p = command("reproduce", "run rows, show them beside the paper's numbers, compare with the record",
                          "  fci reproduce table1 --scale smoke\n"
                          "  fci reproduce s46.bimamba --scale paper\n"
                          "  fci reproduce t1.bm25 t1.random --data hotpot_dev_distractor_v1.json\n"
                          "  fci reproduce own/text --data hotpot_dev_distractor_v1.json\n");
    CLI::App* k = command("table", "the paper's numbers, ours and the verdicts",
                          "  fci table\n"
                          "  fci table figure4 --scale paper --format md\n"
                          "  fci table f2.raw f2.content-only --by-reading --scale paper\n"
                          "  fci table --registered --scale paper\n"
                          "  fci table --score --scale paper\n"
                          "  fci table --claims --scale paper\n");
    add_shared({r, w, p, k}, o);
    for (CLI::App* runs : {w, p}) {
        runs->add_option("--device", o.how.device, "auto (default: on a GPU where there is one), cpu or cuda")
            ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
        runs->add_flag("--tf32", o.how.tf32, "on a GPU: products in TF32");
        runs->add_option("--jobs", o.jobs, "runs at once, in this process; the same bits as one by one")
            ->check(CLI::Range(1, 64));
    }
    w->add_option("--shard", o.shard,
                  "i/N: the i-th of N parts; without it a SLURM or Kubernetes array's index "
                  "(one run a job where no number of jobs is set)")
        ->check(not_empty);
    w->add_option("--stop-after", o.stop_after,
                  "stop each run after this many epochs, schedules unchanged: its result stands for no row")
        ->check(CLI::Range(1, 1000000));
    w->add_flag("--status", o.status, "what is done, running, unfinished and waiting; runs nothing");
    p->add_option("--data", o.data, "the official HotpotQA file, for the rows on it");
    for (CLI::App* sub : {w, p}) sub->add_flag("--quiet", o.quiet, "no progress");
    for (CLI::App* sub : {w, p, k})
        sub->add_option("--seeds", o.seeds, "seeds 1 to this (default: sweep 1, reproduce 3, table all there are)")
            ->check(CLI::Range(1, 1000));
    k->add_flag("--by-reading", o.by_reading, "readings by rows; without --reading all of runs/readings.toml");
    k->add_flag("--registered", o.registered, "what runs/registered.toml expected, beside what came out")
        ->excludes(k->get_option("--by-reading"));
    k->add_flag("--score", o.score, "which readings of the search survive, and how near each comes to the paper")
        ->excludes(k->get_option("--by-reading"), k->get_option("--registered"));
    k->add_flag("--claims", o.claims, "the paper's claims (runs/claims.toml), by their rows' verdicts")
        ->excludes(k->get_option("--by-reading"), k->get_option("--registered"), k->get_option("--score"));
    k->add_flag("--coverage", o.coverage, "how many of the paper's ids have run, by number of seeds")
        ->excludes(k->get_option("--by-reading"), k->get_option("--registered"), k->get_option("--score"),
                   k->get_option("--claims"));
    for (CLI::App* sub : {r, k}) {
        CLI::Option* format = sub->add_option("--format", o.format, "text, md, latex (booktabs), csv or json")
                                  ->check(CLI::IsMember({"text", "md", "latex", "csv", "json"}));
        sub->add_flag_callback(
               "--json", [&o] { o.format = "json"; }, "as --format json")
            ->excludes(format);
    }
    f.rows = r, f.sweep = w, f.reproduce = p, f.table = k;
}

std::optional<Exit> run_study_command(const StudyFlags& f) {
    if (*f.rows) return list_rows(f.options);
    if (*f.sweep) return run_sweep(f.options);
    if (*f.reproduce) return reproduce(f.options);
    if (*f.table) return show_table(f.options);
    return std::nullopt;
}

} // namespace fci
