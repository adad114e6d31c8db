// fci: subcommands and their flags, nothing else.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#include "bench/bench.h"
#include "core/files.h"
#include "core/nearest.h"
#include "core/streams.h"
#include "report/commands.h"
#include "routing/router.h"
#include "study/analysis.h"
#include "study/hotpot_commands.h"
#include "study/index_run.h"
#include "study/plan.h"
#include "tasks/npy.h"
#include "tasks/show.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/progress.h"
#include "train/run.h"

namespace fci {
namespace {

// Adds flags of the table to a subcommand: whole groups, and single ones by key. What the command line says is kept, in
// order, in `given`; set_given() checks and sets it.
void add_flags(CLI::App& app, Options& options, Given& given, const std::vector<Option::Group>& groups,
               const std::vector<std::string>& keys = {}) {
    for (const Option& o : table(options)) {
        if (std::find(groups.begin(), groups.end(), o.group) == groups.end() &&
            std::find(keys.begin(), keys.end(), o.key) == keys.end())
            continue;
        std::vector<std::string> allowed = o.allowed;
        if (o.key == "task") std::erase(allowed, "other"); // a folder of --data says that of itself
        const std::string key = o.key,
                          help = o.help + (allowed.empty() ? "" : fmt::format(" ({})", fmt::join(allowed, " | ")));
        static const char* const names[] = {"task", "model", "training", "run"};
        CLI::Option* flag = nullptr;
        if (std::holds_alternative<bool*>(o.value))
            flag = app.add_flag_function(
                o.flag(), [&given, key](int64_t n) { given.emplace_back(key, n > 0 ? "true" : "false"); }, help);
        else {
            flag = app.add_option_function<std::string>(
                o.flag(), [&given, key](const std::string& v) { given.emplace_back(key, v); }, help);
            const std::string value = o.word(); // the default, where other programs print a type
            flag->type_name(value.empty() ? "TEXT" : value);
        }
        flag->group(names[o.group])->take_last();
    }
}

void set_given(Options& options, const Given& given) {
    const std::vector<Option> all = table(options);
    for (const auto& [key, word] : given)
        for (const Option& o : all)
            if (o.key == key) set_from_text(o, word);
}

// A flag that the subcommand does not know, with the nearest one that it does.
void refuse_unknown(const CLI::App& app) {
    const std::vector<std::string> extras = app.remaining();
    if (extras.empty()) return;
    std::vector<std::string> known;
    for (const CLI::Option* o : app.get_options())
        for (const std::string& name : o->get_lnames()) known.push_back("--" + name);
    const std::string word = extras[0].substr(0, extras[0].find('='));
    fail(Exit::usage, "{}: {} is not known here{} (fci {} --help lists the flags)", app.get_name(), word,
         did_you_mean(word, known), app.get_name());
}

// Those of eval and show that --task hotpotqa alone has.
constexpr const char* hotpot_flags[] = {"--method", "--unit", "--top-k", "--bm25", "--k1", "--b", "--tokeniser"};
void add_hotpot_flags(CLI::App& app, HotpotOptions& o) {
    app.add_option("--method", o.method, "bm25, bloom or random")->type_name(o.method);
    app.add_option("--unit", o.unit, "segments, sentences or paragraphs")->type_name(o.unit);
    app.add_option("--top-k", o.top_k, "how many are chosen, up to 100")->check(CLI::Range(1, 100))->type_name("2");
    app.add_option("--bm25", o.bm25.variant, "okapi or lucene")->type_name(o.bm25.variant);
    app.add_option("--k1", o.bm25.k1, "BM25: how soon repeats saturate")->type_name("1.5");
    app.add_option("--b", o.bm25.b, "BM25: how much length counts")->type_name("0.75");
    app.add_option("--tokeniser", o.tokeniser, "whitespace or letters")->type_name(o.tokeniser);
    for (const char* flag : hotpot_flags) app.get_option(flag)->group("hotpotqa");
}

// Flags that the index named by --method never looks at.
void refuse_idle_index(const CLI::App& app, const HotpotOptions& o) {
    std::vector<const char*> idle;
    if (o.method != "bm25") idle = {"--bm25", "--k1", "--b"};
    if (o.method == "random") idle.push_back("--tokeniser");
    for (const char* flag : idle)
        if (app.get_option(flag)->count())
            fail(Exit::usage, "{} would do nothing with --method {}: leave it out", flag, o.method);
}

// For --task hotpotqa the keys that it takes; without it none of its flags. True: it is hotpotqa.
bool is_hotpot(const CLI::App& app, const Options& options, const Given& set, const std::vector<std::string>& keys) {
    const bool hotpot = options.task.task == "hotpotqa";
    if (!hotpot)
        for (const CLI::Option* o : app.get_options([](const CLI::Option* f) { return f->get_group() == "hotpotqa"; }))
            if (o->count()) fail(Exit::usage, "{} belongs to --task hotpotqa: leave it out", o->get_name());
    for (const auto& [key, word] : set)
        if (hotpot && key != "task" && std::find(keys.begin(), keys.end(), key) == keys.end())
            fail(Exit::usage, "{} {} would do nothing with --task hotpotqa: leave it out", flag_of(key), word);
    return hotpot;
}

void show(const Options& given, const Given& set, const std::string& checkpoint, int count) {
    ShowStyle style{use_colour(stdout), terminal_width(stdout)};
    if (!checkpoint.empty() && !set.empty())
        fail(Exit::usage, "{} and --checkpoint: a checkpoint's own task and test set are shown; leave the flag out",
             flag_of(set[0].first));
    if (checkpoint.empty()) return show_examples(stdout, resolve(given.task), given.train.seed, count, style);
    Options o = checkpoint_options(checkpoint);
    o.run = given.run;
    resolve(o);
    Trainer trainer(make_data(o));
    load_checkpoint(checkpoint, trainer);
    if (o.task.task == "hotpotqa") return show_text(trainer, count, style);
    const Dataset& test = trainer.test_set();
    std::vector<Annotation> notes;
    if (o.train.data.empty()) { // the test set again, with what stands where
        Workers workers(o.run.threads);
        generate(o.task, std::min(count, test.count), 0, Stream::test_data, workers, &notes);
    }
    for (int i = 0; i < std::min(count, test.count); ++i) {
        const Trainer::Look look = trainer.look(test, i);
        std::vector<Looked> looked(test.queries);
        const int k = o.model.top_k, places = test.length / look.place_length;
        for (int n = 0; n < static_cast<int>(look.picked.size()); ++n) { // of a segment, its first position
            looked[n / k].positions.push_back(look.picked[n] * look.place_length);
            if (!look.scores.empty()) looked[n / k].scores.push_back(look.scores[n / k * places + look.picked[n]]);
        }
        fmt::print("{}test example {}\n", i ? "\n" : "", i + 1);
        show_example(stdout, test, i, notes.empty() ? nullptr : &notes[i], style,
                     look.picked.empty() ? nullptr : &looked);
        if (look.place_length > 1)
            fmt::print(
                "This router chooses segments of {} positions: #1 stands at the first position of the best one.\n",
                look.place_length);
    }
}

void make_dataset(const Options& given, const Given& set, const std::string& split) {
    const bool test = split == "test";
    for (const auto& [key, word] : set)
        if (test ? key == "seed" || key == "sequences" : key == "test_sequences")
            fail(Exit::usage, "{} {} would do nothing with --split {}: leave it out", flag_of(key), word, split);
    const uint64_t seed = test ? 0 : given.train.seed; // the test set is the same for all seeds
    const int count = test ? given.train.test_sequences : given.train.sequences;
    const Stream stream = test ? Stream::test_data : Stream::train_data;
    if (given.task.task == "hotpotqa") return generate_hotpot(given.run.out, count, seed, stream, given.run.threads);
    if (given.run.out.empty()) fail(Exit::usage, "generate: --out FOLDER is needed: where the .npy files go");
    const TaskOptions task = resolve(given.task);
    Workers workers(given.run.threads ? given.run.threads : Workers::available());
    const Dataset data = generate(task, count, seed, stream, workers);
    save_dataset(given.run.out, data, task, seed);
    fmt::print("{}: {} sequences of {} tokens, {} quer{} each\n", given.run.out, data.count, data.length, data.queries,
               data.queries == 1 ? "y" : "ies");
}

int run(int argc, char** argv) {
    Options options;
    Given given;
    std::string config, reading, checkpoint, data, split = "train";
    int count = 3, sequences = 32;
    BenchOptions bench;
    HotpotCommand hotpot;

    CLI::App app("fci: content-based routing, from scratch (a reproduction of arXiv 2603.20997)\n\n"
                 "Examples:\n"
                 "  fci train --task mqar                        train the paper's model, about 11 minutes on 2 cores\n"
                 "  fci train --task der --representation raw    no mixing before the router\n"
                 "  fci train --resume runs/out/NAME             go on where a run was stopped\n"
                 "  fci show --task der                          a few examples as pictures\n"
                 "  fci show --checkpoint runs/out/NAME/checkpoint.safetensors   where the router looked\n"
                 "  fci analyze runs/out/NAME/checkpoint.safetensors             ranks and cosines of what it learned\n"
                 "  fci reproduce table1 --scale smoke           rows of the paper, beside its numbers\n"
                 "  fci report                                   what holds of the paper, on a page\n"
                 "  fci bench                                    the speed of each op and step on this machine\n\n"
                 "Exit codes: 0 ok, 1 internal or I/O, 2 usage or missing device, 3 bad data or checkpoint,\n"
                 "            4 differs from the record, 5 NaN or Inf, 75 interrupted (resume it)\n");
    app.require_subcommand(1);
    app.set_help_flag("-h,--help", "this text; fci COMMAND --help for a command's flags");

    // Examples are for `fci COMMAND --help`; `fci --help` lists the commands, a line each.
    const std::string chosen = argc > 1 ? argv[1] : "";
    const auto command = [&](const char* name, const std::string& line, const std::string& examples) {
        return app.add_subcommand(name,
                                  chosen == name ? "fci " + chosen + ": " + line + "\n\nExamples:\n" + examples : line);
    };

    CLI::App* t = command("train", "train a model",
                          "  fci train --task mqar\n"
                          "  fci train --task der --representation bidir-flow:1 --learning-rate 1e-3 --seed 2\n"
                          "  fci train --task mqar --length 128 --sequences 2000 --epochs 10 --out /tmp/try\n"
                          "  fci train --task hotpotqa --length 512 --test-data hotpot_dev_distractor_v1.json\n"
                          "  fci train --task der --representation raw --reading marker-fixed-same-everywhere\n"
                          "  fci train --config runs/out/NAME/config.toml --seed 3\n"
                          "  fci train --resume runs/out/NAME\n");
    add_flags(*t, options, given, {Option::task, Option::model, Option::train, Option::run});
    t->add_option("--reading", reading, "several options by one name: of runs/readings.toml, or FILE.toml:NAME")
        ->group("run");
    t->add_option("--config", config, "read options from this TOML file first; flags override it")->group("run");

    CLI::App* e = command("eval", "measure a checkpoint on its test set",
                          "  fci eval runs/out/NAME/checkpoint.safetensors\n"
                          "  fci eval runs/out/NAME/checkpoint.safetensors --data FOLDER --json\n"
                          "  fci eval runs/out/NAME/checkpoint.safetensors --data hotpot_dev_distractor_v1.json\n"
                          "  fci eval --task hotpotqa --method bm25 --data hotpot_dev_distractor_v1.json\n");
    e->add_option("checkpoint,--checkpoint", checkpoint, "a checkpoint.safetensors");
    e->add_option("--data", data, "measure on this folder of .npy files instead; hotpotqa: this file");
    e->add_option("--task", options.task.task, "hotpotqa: measure an index on it, no checkpoint")
        ->type_name("TASK")
        ->check(CLI::IsMember({"hotpotqa"}));
    add_hotpot_flags(*e, hotpot.options);
    e->add_option("--per-example", hotpot.per_example, "write what was chosen for each example to this file")
        ->group("hotpotqa");
    e->add_option("--seed", hotpot.options.seed, "of bloom and random")
        ->check(CLI::NonNegativeNumber)
        ->group("hotpotqa");
    add_flags(*e, options, given, {}, {"threads", "quiet", "json"});

    CLI::App* s = command("show", "print examples as pictures",
                          "  fci show --task der --distractor-key other\n"
                          "  fci show --task mqar --queries many --length 64 --pairs 4\n"
                          "  fci show --checkpoint runs/out/NAME/checkpoint.safetensors --count 5\n"
                          "  fci show --task hotpotqa --data FILE.json --method bm25\n");
    add_flags(*s, options, given, {Option::task}, {"seed"});
    s->add_option("--checkpoint", checkpoint, "mark where this model's router looks, on its test set");
    s->add_option("--data", data, "a HotpotQA file; without it an example is generated")->group("hotpotqa");
    add_hotpot_flags(*s, hotpot.options);
    s->add_option("--count", count, "how many")->check(CLI::Range(1, 1000000));

    CLI::App* a = command("analyze", "cosines, ranks and random projections of a trained model",
                          "  fci analyze runs/out/NAME/checkpoint.safetensors\n"
                          "  fci analyze runs/out/NAME/checkpoint.safetensors --sequences 100 --json\n");
    a->add_option("checkpoint", checkpoint, "a checkpoint.safetensors")->required();
    a->add_option("--sequences", sequences, "test sequences for the rank of the scores, the slow number")
        ->check(CLI::Range(1, 1000000));
    add_flags(*a, options, given, {}, {"threads", "quiet", "json"});

    CLI::App* g = command("generate", "write a dataset as .npy files and a JSON description",
                          "  fci generate --task mqar --out data/mqar\n"
                          "  fci generate --task mqar --out data/mqar-test --split test\n"
                          "  fci generate --task hotpotqa --out hotpot.json --sequences 1000\n"
                          "  fci train --data data/mqar --test-data data/mqar-test\n");
    add_flags(*g, options, given, {Option::task}, {"out", "sequences", "test_sequences", "seed", "threads"});
    g->get_option("--out")->description("folder for the .npy files; hotpotqa: the .json file");
    g->get_option("--seed")->description("of the examples");
    g->add_option("--split", split, "train, or the test set, which is the same for all seeds")
        ->check(CLI::IsMember({"train", "test"}));

    CLI::App* b = command("bench", "measure the speed of each op and of whole steps on this machine",
                          "  fci bench\n"
                          "  fci bench --task der --representation bidir-flow:1\n"
                          "  fci bench --device cuda --json\n"
                          "  fci bench --scaling --out scaling.tsv\n");
    CLI::Option* scaling = b->add_flag("--scaling", bench.scaling, "routing against the length, up to 1,000,000");
    b->add_option("--out", bench.out, "with --scaling: also write the table here, tab-separated")->needs(scaling);
    b->add_option("--task", bench.task, "der (L 512), mqar (L 256) or hotpotqa (L 1024); without it all three")
        ->check(CLI::IsMember(task_names()));
    b->add_option("--representation", bench.representation, "only this one");
    b->add_option("--threads", bench.threads, "0: one for each processor")->check(CLI::Range(0, 1024));
    b->add_option("--steps", bench.steps, "timed steps of each")->check(CLI::Range(1, 100000));
    b->add_flag("--json", bench.json, "end with one JSON object on standard output");
    CLI::Option* device = b->add_option("--device", bench.device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
    b->add_flag("--tf32", bench.tf32, "cuda: products with 10 bits of mantissa instead of 23")->needs(device);
    b->add_flag("--runs", bench.runs, "cuda: also the paper's runs from start to end, seconds each")->needs(device);
    for (const char* other :
         {"--task", "--representation", "--threads", "--steps", "--json", "--device", "--tf32", "--runs"})
        scaling->excludes(b->get_option(other));

    StudyFlags study;
    add_study_commands(study, command);
    ReportFlags report;
    add_report_commands(report, command);

    for (CLI::App* sub : app.get_subcommands(nullptr)) sub->allow_extras();
    if (argc == 1) {
        complain("{}", app.help());
        return static_cast<int>(Exit::usage);
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& wrong) {
        std::vector<std::string> commands;
        for (const CLI::App* sub : app.get_subcommands(nullptr)) commands.push_back(sub->get_name());
        const std::string word = argc > 1 ? argv[1] : "";
        const bool known = std::find(commands.begin(), commands.end(), word) != commands.end();
        fail(Exit::usage, "{}{} (fci {}--help)", wrong.what(),
             word.empty() || known ? "" : did_you_mean(word, commands), known ? word + " " : "");
    }
    for (const CLI::App* sub : app.get_subcommands()) refuse_unknown(*sub);
    if (*t) {
        if (!config.empty()) read_toml(options, read_file(config), config);
        set_given(options, given);
        if (!config.empty() && !options.run.resume.empty())
            fail(Exit::usage,
                 "--config and --resume: a resumed run has the options it was started with; leave --config out");
        if (!reading.empty()) apply_reading(options, reading, given);
        if (options.run.resume.empty()) refuse_idle(options, given);
        if (router_kind(options.model.router).type != RouterKind::in_model && options.run.resume.empty())
            return static_cast<int>(train_index(options, given));
        return static_cast<int>(train(options, given));
    }
    set_given(options, given);
    hotpot.data = data, hotpot.threads = options.run.threads;
    if (*e && is_hotpot(*e, options, given, {"threads", "quiet", "json"})) {
        if (!checkpoint.empty()) fail(Exit::usage, "{} and --task hotpotqa: an index has no checkpoint", checkpoint);
        refuse_idle_index(*e, hotpot.options);
        hotpot.json = options.run.json, hotpot.quiet = options.run.quiet;
        eval_hotpot(hotpot);
        return 0;
    }
    if (*e && checkpoint.empty()) fail(Exit::usage, "checkpoint is required, or --task hotpotqa (fci eval --help)");
    if (*s && is_hotpot(*s, options, given, {"seed"})) {
        if (!checkpoint.empty()) fail(Exit::usage, "--checkpoint and --task hotpotqa: an index has no checkpoint");
        refuse_idle_index(*s, hotpot.options);
        if (s->get_option("--count")->count()) hotpot.count = count;
        hotpot.options.seed = options.train.seed;
        show_hotpot(hotpot, {use_colour(stdout), terminal_width(stdout)});
        return 0;
    }
    if (*g) is_hotpot(*g, options, given, {"out", "sequences", "test_sequences", "seed", "threads"});
    if (*e) return static_cast<int>(evaluate(checkpoint, data, options.run));
    if (*a) return static_cast<int>(analyze(checkpoint, sequences, options.run));
    if (*s) show(options, given, checkpoint, count);
    if (*g) make_dataset(options, given, split);
    if (*b) run_bench(bench);
    if (const auto exit = run_study_command(study)) return static_cast<int>(*exit);
    if (const auto exit = run_report_command(report)) return static_cast<int>(*exit);
    return 0;
}

// Says what is being thrown, in pieces: there may be no memory to put them together. Returns the exit code.
int complain_of_exception() {
    const auto say = [](Exit code, const char* message) {
        for (const char* part : {"fci: ", message, "\n"}) put(stderr, part);
        return static_cast<int>(code);
    };
    try {
        throw;
    } catch (const Error& e) {
        return say(e.exit, e.what());
    } catch (const std::bad_alloc&) {
        return say(Exit::internal,
                   "out of memory; try a smaller --batch, --length or --sequences, or raise the limit (ulimit -v)");
    } catch (const std::exception& e) {
        return say(Exit::internal, e.what());
    }
}

} // namespace
} // namespace fci

int main(int argc, char** argv) {
    fci::hold_standard_streams();
    std::signal(SIGXFSZ, SIG_IGN); // a write beyond `ulimit -f` then fails with a message, as on a full disk
    // A library's noexcept function may throw, or give up, when there is no memory.
    std::set_terminate([] {
        if (std::current_exception()) ::_exit(fci::complain_of_exception());
        fci::put(stderr, "fci: ended where no error can be passed on: out of memory, or a bug\n");
        ::_exit(static_cast<int>(fci::Exit::internal));
    });
    try {
        const int code = fci::run(argc, argv);
        if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
        const int error = errno; // e.g. a full disk: results must not vanish silently
        if (code != 0) return code;
        fci::fail(fci::Exit::internal, "standard output cannot be written: {}", std::strerror(error));
    } catch (...) {
        return fci::complain_of_exception();
    }
}
