// fci eval, route, demo, show and generate. For a text task, stored as a file of examples, they also measure and show
// indices, which have no checkpoint (study/hotpot_commands.h).
#include "cli/command.h"
#include "core/signals.h"
#include "core/streams.h"
#include "study/hotpot_commands.h"
#include "tasks/npy.h"
#include "tasks/show.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/progress.h"
#include "train/route.h"
#include "train/run.h"

namespace fci {
namespace {

std::vector<std::string> text_task_names() {
    std::vector<std::string> names;
    for (const Task* t : tasks())
        if (t->is_text) names.emplace_back(t->name);
    return names;
}

// The options of an index on text.
struct IndexFlags : GivenOptions {
    HotpotCommand index;
    std::string group = fmt::format("{}", fmt::join(text_task_names(), ", "));

    // Flags that only such a task has.
    void add_index_flags(CLI::App& app) {
        HotpotOptions& o = index.options;
        const std::vector<CLI::Option*> flags = {
            app.add_option("--method", o.method, "bm25, bloom or random")->type_name(o.method),
            app.add_option("--unit", o.unit, "segments, sentences or paragraphs")->type_name(o.unit),
            app.add_option("--top-k", o.top_k, "how many are chosen, up to 100")
                ->check(CLI::Range(1, 100))
                ->type_name("2"),
            app.add_option("--bm25", o.bm25.variant, "okapi or lucene")->type_name(o.bm25.variant),
            app.add_option("--k1", o.bm25.k1, "BM25: how soon repeats saturate")->type_name("1.5"),
            app.add_option("--b", o.bm25.b, "BM25: how much length counts")->type_name("0.75"),
            app.add_option("--tokeniser", o.tokeniser, "whitespace or letters")->type_name(o.tokeniser)};
        for (CLI::Option* flag : flags) flag->group(group);
    }

    // Sets the options. For text, refuses every key except `keys`; else refuses the flags that only text has. Returns
    // true for text.
    bool set_for_text(const CLI::App& app, const std::vector<std::string>& keys) {
        set();
        const std::string& task = options.task.task;
        const bool text = task_of(options.task).is_text;
        if (!text)
            for (const CLI::Option* o : app.get_options([&](const CLI::Option* f) { return f->get_group() == group; }))
                if (o->count()) fail(Exit::usage, "{} belongs to --task {}: leave it out", o->get_name(), group);
        for (const auto& [key, word] : given)
            if (text && key != "task" && std::find(keys.begin(), keys.end(), key) == keys.end())
                fail(Exit::usage, "{} {} would do nothing with --task {}: leave it out", flag_of(key), word, task);
        return text;
    }

    // Refuses flags that the index named by --method never uses.
    void refuse_idle_flags(const CLI::App& app) const {
        const std::string& method = index.options.method;
        std::vector<const char*> idle;
        if (method != "bm25") idle = {"--bm25", "--k1", "--b"};
        if (method == "random") idle.push_back("--tokeniser");
        for (const char* flag : idle)
            if (app.get_option(flag)->count())
                fail(Exit::usage, "{} would do nothing with --method {}: leave it out", flag, method);
    }
};

std::function<Exit()> add_eval(CLI::App& app) {
    struct Flags : IndexFlags {
        std::string checkpoint;
    };
    const auto f = std::make_shared<Flags>();
    add_checkpoint(app, "checkpoint,--checkpoint", f->checkpoint);
    app.add_option("--data", f->index.data, "measure on this folder of .npy files instead; hotpotqa: this file");
    app.add_option("--task", f->options.task.task, f->group + ": measure an index on it, without a checkpoint")
        ->type_name("TASK")
        ->check(CLI::IsMember(text_task_names()));
    f->add_index_flags(app);
    app.add_option("--per-example", f->index.per_example, "write what was chosen for each example to this file")
        ->group(f->group);
    app.add_option("--seed", f->index.options.seed, "seed of bloom and random")
        ->check(CLI::NonNegativeNumber)
        ->group(f->group);
    f->add_flags(app, {}, {"threads", "quiet", "json"});
    add_backbone_flags(app, f->options.run);
    return [f, &app] {
        const RunOptions& how = f->options.run;
        if (!f->set_for_text(app, {"threads", "quiet", "json"})) {
            if (f->checkpoint.empty())
                fail(Exit::usage, "a checkpoint is required, or --task {} (fci eval --help)", f->group);
            return evaluate(checkpoint_file(f->checkpoint), f->index.data, how);
        }
        if (!f->checkpoint.empty())
            fail(Exit::usage, "{} and --task {}: an index has no checkpoint; leave one out", f->checkpoint,
                 f->options.task.task);
        f->refuse_idle_flags(app);
        f->index.threads = how.threads, f->index.json = how.json, f->index.quiet = how.quiet;
        eval_hotpot(f->index);
        return Exit::ok;
    };
}

std::function<Exit()> add_route(CLI::App& app) {
    struct Flags {
        std::string checkpoint, data = "-";
        RunOptions how;
    };
    const auto f = std::make_shared<Flags>();
    add_checkpoint(app, "checkpoint", f->checkpoint)->required();
    app.add_option("--data", f->data,
                   "a folder with tokens.npy and query.npy, or with inputs.npy and labels.npy; a .npy file of tokens; "
                   "or a text file with one sequence of token ids per line, then optionally a | and the query rows "
                   "(default: the last row); - (default): standard input")
        ->check(not_empty())
        ->type_name("PATH");
    app.add_option("--threads", f->how.threads, "0: one for each processor")->check(CLI::Range(0, 1024));
    app.add_option("--backbone", f->how.backbone, "folder of the model's backbone, if it has moved");
    app.add_flag("--json", f->how.json, "one JSON object per line instead of columns");
    return [f] { return route(checkpoint_file(f->checkpoint), f->data, f->how); };
}

// The places where the router looks in a test example, for show_example; for a segment, its first position.
std::vector<Looked> looked_at(Trainer& trainer, int i) {
    const Dataset& test = trainer.test_set();
    const Trainer::Look look = trainer.look(test, i);
    std::vector<Looked> looked(look.chosen.empty() ? 0 : test.queries);
    const int k = trainer.options().model.top_k, places = test.length / look.place_length;
    for (int n = 0; n < static_cast<int>(look.chosen.size()); ++n) {
        looked[n / k].positions.push_back(look.chosen[n] * look.place_length);
        if (!look.scores.empty()) looked[n / k].scores.push_back(look.scores[n / k * places + look.chosen[n]]);
    }
    return looked;
}

void show(const GivenOptions& now, const std::string& checkpoint, const std::string& data, int count,
          const ShowStyle& style) {
    if (!checkpoint.empty() && !now.given.empty())
        fail(Exit::usage, "{} and --checkpoint: a checkpoint's own task and test set are shown; leave the flag out",
             flag_of(now.given[0].first));
    if (checkpoint.empty() && !data.empty())
        fail(Exit::usage, "--data {}: it needs --checkpoint, or --task hotpotqa; give one of them", data);
    if (checkpoint.empty())
        return show_examples(stdout, resolve(now.options.task), now.options.train.seed, count, style);
    const std::unique_ptr<Trainer> measured = trainer_to_measure(checkpoint, data, now.options.run);
    Trainer& trainer = *measured;
    const Options& o = trainer.options();
    load_model(checkpoint, trainer);
    if (task_of(o.task).is_text) return show_text(trainer, data, count, style);
    const Dataset& test = trainer.test_set();
    std::vector<Annotation> notes;
    if (o.train.data.empty() && data.empty()) { // makes the test set again, with each position's role
        Workers workers(o.run.threads);
        generate(o.task, std::min(count, test.count), 0, Stream::test_data, workers, &notes);
    }
    for (int i = 0; i < std::min(count, test.count); ++i) {
        const std::vector<Looked> looked = looked_at(trainer, i);
        fmt::print("{}test example {}\n", i ? "\n" : "", i + 1);
        show_example(stdout, test, i, notes.empty() ? nullptr : &notes[i], style, looked.empty() ? nullptr : &looked);
        if (trainer.place_length() > 1)
            fmt::print(
                "This router chooses segments of {} positions: #1 marks the first position of the best segment.\n",
                trainer.place_length());
    }
}

// Trains a model for about ten seconds to find where to look, with a picture before and after.
Exit demo() {
    Options o;
    o.task.task = "mqar", o.task.length = 64, o.task.pairs = 8, o.task.vocab = 64;
    o.model.d_model = 64, o.model.top_k = 1;
    o.train.sequences = 4000, o.train.test_sequences = 500, o.train.epochs = 4, o.train.learning_rate = 2e-3;
    o.run.device = "cpu";
    resolve(o);
    Trainer trainer(make_data(o));
    Progress progress(stdout);
    const ShowStyle style{use_colour(stdout), terminal_width(stdout, 80)};
    std::vector<Annotation> notes;
    generate(o.task, 1, 0, Stream::test_data, trainer.workers(),
             &notes); // makes test example 1 again, with each position's role
    const auto picture = [&](const std::string& title) {
        const std::vector<Looked> looked = looked_at(trainer, 0);
        progress.line(progress.bold(title));
        show_example(stdout, trainer.test_set(), 0, &notes[0], style, &looked);
    };
    progress.line(
        "A sequence holds 8 pairs of a key and a value, and ends with one of the keys.\nThe router must find that "
        "key's position among 64: a transformer layer and\nthe Investigator learn it from 4000 sequences.\n");
    picture("before training");
    progress.line("");

    const SignalGuard guard;
    const auto start = std::chrono::steady_clock::now();
    const double chance = trainer.chance()->at_1;
    while (trainer.steps_done() < trainer.steps_total()) {
        if (stop_asked()) fail(Exit::interrupted, "stopped; a demo saves nothing");
        const Step s = trainer.step();
        const double done = static_cast<double>(s.number) / static_cast<double>(trainer.steps_total()),
                     seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (progress.due())
            progress.status(fmt::format("step {}/{}  loss {:.3f}  ETA {}", s.number, trainer.steps_total(), s.loss,
                                        duration(seconds / done - seconds)));
        if (s.number % trainer.steps_per_epoch()) continue;
        const Counts c = trainer.evaluate();
        progress.line(
            fmt::format("epoch {}/{}  loss {:.3f}  position found {:5.1f}% (chance {:.1f})  answered {:5.1f}%",
                        s.epoch + 1, o.train.epochs, s.loss, c.percent(c.at_1), chance, c.percent(c.correct)));
    }
    progress.line("");
    picture("after training");
    progress.line(
        fmt::format("\nFor the paper's size: {0} train --task mqar; for your own: {0} train --help", program_name()));
    return Exit::ok;
}

std::function<Exit()> add_demo(CLI::App&) {
    return [] { return demo(); };
}

std::function<Exit()> add_show(CLI::App& app) {
    struct Flags : IndexFlags {
        std::string checkpoint;
        int count = 3;
    };
    const auto f = std::make_shared<Flags>();
    f->add_flags(app, {Option::task}, {"seed"});
    add_checkpoint(app, "--checkpoint", f->checkpoint)
        ->description("mark where this model's router looks, on its test set: a run's folder, or its checkpoint");
    app.add_option("--data", f->index.data,
                   "with --checkpoint: use this folder or file instead of its test set; hotpotqa: this file")
        ->check(not_empty());
    f->add_index_flags(app);
    add_backbone_flags(app, f->options.run);
    app.add_option("--count", f->count, "number of examples")->check(CLI::Range(1, 1000000));
    return [f, &app] {
        const ShowStyle style{use_colour(stdout), terminal_width(stdout)};
        if (!f->set_for_text(app, {"seed"})) {
            show(*f, checkpoint_file(f->checkpoint), f->index.data, f->count, style);
            return Exit::ok;
        }
        if (!f->checkpoint.empty())
            fail(Exit::usage, "--checkpoint and --task {}: an index has no checkpoint; leave one out",
                 f->options.task.task);
        f->refuse_idle_flags(app);
        if (app.get_option("--count")->count()) f->index.count = f->count;
        f->index.options.seed = f->options.train.seed;
        show_hotpot(f->index, style);
        return Exit::ok;
    };
}

void make_dataset(const GivenOptions& now, const std::string& split) {
    const Options& o = now.options;
    const bool test = split == "test";
    for (const auto& [key, word] : now.given)
        if (test ? key == "seed" || key == "sequences" : key == "test_sequences")
            fail(Exit::usage, "{} {} would do nothing with --split {}: leave it out", flag_of(key), word, split);
    const uint64_t seed = test ? 0 : o.train.seed; // the test set is the same for all seeds
    const int count = test ? o.train.test_sequences : o.train.sequences;
    const Stream stream = test ? Stream::test_data : Stream::train_data;
    if (task_of(o.task).is_text) return generate_hotpot(o.run.out, count, seed, stream, o.run.threads);
    if (o.run.out.empty()) fail(Exit::usage, "generate: --out FOLDER is needed, for the .npy files");
    const TaskOptions task = resolve(o.task);
    Workers workers(o.run.threads ? o.run.threads : Workers::available());
    const Dataset data = generate(task, count, seed, stream, workers);
    save_dataset(o.run.out, data, task, seed);
    fmt::print("{}: {} sequences of {} tokens, {} quer{} each\n", o.run.out, data.count, data.length, data.queries,
               data.queries == 1 ? "y" : "ies");
}

std::function<Exit()> add_generate(CLI::App& app) {
    struct Flags : IndexFlags {
        std::string split = "train";
    };
    const auto f = std::make_shared<Flags>();
    const std::vector<std::string> keys = {"out", "sequences", "test_sequences", "seed", "threads"};
    f->add_flags(app, {Option::task}, keys);
    app.get_option("--out")->description("folder for the .npy files; hotpotqa: the .json file");
    app.get_option("--seed")->description("seed of the examples");
    app.add_option("--split", f->split, "train, or the test set, which is the same for all seeds")
        ->check(CLI::IsMember({"train", "test"}));
    return [f, &app, keys] {
        f->set_for_text(app, keys);
        make_dataset(*f, f->split);
        return Exit::ok;
    };
}

} // namespace

namespace command_entries {

extern const Command eval{"eval", "measure a checkpoint on its test set",
                          "  fci eval runs/out/NAME\n"
                          "  fci eval runs/out/NAME --data FOLDER --json\n"
                          "  fci eval runs/out/NAME --data FILE.json\n"
                          "  fci eval --task hotpotqa --method bm25 --data hotpot_dev_distractor_v1.json\n",
                          add_eval};

extern const Command route{"route", "show where a trained model looks in your own sequences, and what it answers",
                           "  fci route runs/out/NAME --data sequences.txt\n"
                           "  fci route runs/out/NAME --data FOLDER --json\n"
                           "  echo '7 99 5 80 5' | fci route CHECKPOINT        (for a model of length 5)\n",
                           add_route};

extern const Command demo{"demo", "watch a small model learn where to look, in about ten seconds", "  fci demo\n",
                          add_demo};

extern const Command show{"show", "print examples as pictures",
                          "  fci show --task der --distractor-key other\n"
                          "  fci show --task mqar --queries many --length 64 --pairs 4\n"
                          "  fci show --checkpoint runs/out/NAME --count 5\n"
                          "  fci show --task hotpotqa --data FILE.json --method bm25\n",
                          add_show};

extern const Command generate{"generate", "write a dataset as .npy files and a JSON description",
                              "  fci generate --task mqar --out data/mqar\n"
                              "  fci generate --task mqar --out data/mqar-test --split test\n"
                              "  fci generate --task hotpotqa --out hotpot.json --sequences 1000\n"
                              "  fci train --data data/mqar --test-data data/mqar-test\n",
                              add_generate};

} // namespace command_entries

} // namespace fci
