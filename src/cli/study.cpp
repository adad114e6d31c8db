// fci rows, sweep, reproduce and table: the commands about rows (study/commands.h).
#include "study/commands.h"

#include "cli/command.h"

namespace fci {
namespace {

using Shared = std::shared_ptr<StudyOptions>;

// Flags of all four commands.
Shared add_shared(CLI::App& app) {
    const auto o = std::make_shared<StudyOptions>();
    app.add_option("rows", o->words,
                   app.get_name() == "sweep" ? "ids, groups (table1), FILE.toml, all; or order: runs/order.toml"
                                             : "ids, groups (table1), FILE.toml, or all");
    app.add_option("--scale", o->scale, "paper, small (default) or smoke: runs/scales.toml");
    app.add_option("--results", o->results, "folder of the results (default runs/out/results)")->check(not_empty());
    app.add_option("--reading", o->readings,
                   "the rows under joint readings: a name or set of runs/readings.toml, FILE.toml or FILE.toml:NAME")
        ->check(not_empty())
        ->take_all()
        ->expected(1);
    app.add_option("--backbones", o->backbones,
                   "folder that contains the folders of the pretrained models that rows name; without it, these rows "
                   "do not run")
        ->check(not_empty());
    app.add_option("--threads", o->how.threads, "0: one for each processor")->check(CLI::Range(0, 1024));
    return o;
}

// Flags of the commands that run something.
void add_running(CLI::App& app, StudyOptions& o) {
    app.add_option("--device", o.how.device, "auto (default: on a GPU where there is one), cpu or cuda")
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    app.add_option("--backbone-cache", o.how.backbone_cache,
                   "folder for the cached hidden states (default runs/out/features); none: recomputed each time")
        ->check(not_empty());
    add_precision(app, o.how.precision);
    app.add_option("--jobs", o.jobs, "number of runs at once, in this process; same bits as one by one")
        ->check(CLI::Range(1, 64));
}

void add_seeds(CLI::App& app, StudyOptions& o) {
    app.add_option("--seeds", o.seeds, "seeds 1 to this (default: sweep 1, reproduce 3, table all there are)")
        ->check(CLI::Range(1, 1000));
}

void add_quiet(CLI::App& app, StudyOptions& o) { app.add_flag("--quiet", o.quiet, "no progress"); }

void add_format(CLI::App& app, StudyOptions& o) {
    CLI::Option* format = app.add_option("--format", o.format, "text, md, latex (booktabs), csv or json")
                              ->check(CLI::IsMember({"text", "md", "latex", "csv", "json"}));
    app.add_flag_callback(
           "--json", [&o] { o.format = "json"; }, "same as --format json")
        ->excludes(format);
}

std::function<Exit()> add_rows(CLI::App& app) {
    const Shared o = add_shared(app);
    add_format(app, *o);
    return [o] { return list_rows(*o); };
}

std::function<Exit()> add_sweep(CLI::App& app) {
    const Shared o = add_shared(app);
    add_running(app, *o);
    app.add_option("--shard", o->shard,
                   "i/N: the i-th of N parts; default: the index of a SLURM or Kubernetes array (one run per job if "
                   "the number of jobs is not set)")
        ->check(not_empty());
    app.add_option("--stop-after", o->stop_after,
                   "stop each run after this many epochs, schedules unchanged: its result counts for no row")
        ->check(CLI::Range(1, 1000000));
    app.add_flag("--status", o->status, "show what is done, running, unfinished and waiting; run nothing");
    add_quiet(app, *o);
    add_seeds(app, *o);
    app.add_option("--name", o->name,
                   "instead of rows: run all combinations of the values listed in the flags below, as a row of runs/ "
                   "does. Values are separated by commas; a comma within a value is written \\,. The grid is saved as "
                   "NAME, for table, plot and sweep")
        ->check(not_empty());
    const auto grid = std::make_shared<GivenOptions>();
    grid->lists = true;
    grid->add_flags(app, {Option::task, Option::model, Option::train}, {}, {"seed", "data", "test_data", "init_from"});
    return [o, grid] {
        o->grid = grid->given;
        return run_sweep(*o);
    };
}

std::function<Exit()> add_reproduce(CLI::App& app) {
    const Shared o = add_shared(app);
    add_running(app, *o);
    app.add_option("--data", o->data, "the official HotpotQA file, for the rows that need it");
    add_quiet(app, *o);
    add_seeds(app, *o);
    return [o] { return reproduce(*o); };
}

std::function<Exit()> add_table(CLI::App& app) {
    const Shared o = add_shared(app);
    add_seeds(app, *o);
    std::vector<CLI::Option*> kinds; // kinds of table; only one may be given
    const auto kind = [&](const char* flag, bool& value, const char* help) {
        CLI::Option* added = app.add_flag(flag, value, help);
        for (CLI::Option* other : kinds) added->excludes(other);
        kinds.push_back(added);
    };
    kind("--by-reading", o->by_reading,
         "a table of readings by rows; without --reading, all readings of runs/readings.toml");
    kind("--registered", o->registered, "the expectations of runs/registered.toml, beside the results");
    kind("--score", o->score, "which readings of the search survive, and how near each comes to the paper");
    kind("--claims", o->claims, "the paper's claims (runs/claims.toml), by their rows' verdicts");
    kind("--coverage", o->coverage, "how many of the paper's ids have run, by number of seeds");
    add_format(app, *o);
    return [o] { return show_table(*o); };
}

} // namespace

namespace command_entries {

extern const Command rows{"rows", "list the paper's rows, and how long they take here",
                          "  fci rows\n"
                          "  fci rows table1 f2.raw --scale paper\n",
                          add_rows};

extern const Command sweep{"sweep", "run rows, by any number of processes and machines",
                           "  fci sweep runs/table1.toml --scale small --seeds 3\n"
                           "  fci sweep all --scale paper --shard 2/8\n"
                           "  fci sweep f2.raw --reading marker-fixed-same-everywhere --scale paper\n"
                           "  fci sweep order --scale paper            the next runs of runs/order.toml\n"
                           "  fci sweep all --scale paper --status\n"
                           "  fci sweep --name w --task mqar --d-model 32,64 --learning-rate 3e-4,1e-3\n"
                           "  fci sweep w --status\n",
                           add_sweep};

extern const Command reproduce{"reproduce", "run rows, show them beside the paper's numbers, compare with the record",
                               "  fci reproduce table1 --scale smoke\n"
                               "  fci reproduce s46.bimamba --scale paper\n"
                               "  fci reproduce t1.bm25 t1.random --data hotpot_dev_distractor_v1.json\n"
                               "  fci reproduce own/text --data hotpot_dev_distractor_v1.json\n",
                               add_reproduce};

extern const Command table{"table", "the paper's numbers, ours and the verdicts",
                           "  fci table\n"
                           "  fci table figure4 --scale paper --format md\n"
                           "  fci table f2.raw f2.content-only --by-reading --scale paper\n"
                           "  fci table --registered --scale paper\n"
                           "  fci table --score --scale paper\n"
                           "  fci table --claims --scale paper\n",
                           add_table};

} // namespace command_entries

} // namespace fci
