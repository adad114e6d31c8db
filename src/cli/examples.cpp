// fci eval, show and generate. Of a task that is text, kept as a file of examples, they also measure and show indices,
// which no checkpoint has (study/hotpot_commands.h).
#include "cli/command.h"
#include "study/hotpot_commands.h"
#include "tasks/npy.h"
#include "tasks/show.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/progress.h"
#include "train/run.h"

namespace fci {
namespace {

std::vector<std::string> text_task_names() {
    std::vector<std::string> names;
    for (const Task* t : tasks())
        if (t->is_text) names.emplace_back(t->name);
    return names;
}

// What an index on text is told.
struct IndexFlags : GivenOptions {
    HotpotCommand index;
    std::string group = fmt::format("{}", fmt::join(text_task_names(), ", "));

    // Those that such a task alone has.
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

    // Sets the options. Of text, refuses every key but `keys`; else the flags that only text has. True: it is text.
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

    // Flags that the index named by --method never looks at.
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
    app.add_option("checkpoint,--checkpoint", f->checkpoint, "a checkpoint.safetensors");
    app.add_option("--data", f->index.data, "measure on this folder of .npy files instead; hotpotqa: this file");
    app.add_option("--task", f->options.task.task, f->group + ": measure an index on it, no checkpoint")
        ->type_name("TASK")
        ->check(CLI::IsMember(text_task_names()));
    f->add_index_flags(app);
    app.add_option("--per-example", f->index.per_example, "write what was chosen for each example to this file")
        ->group(f->group);
    app.add_option("--seed", f->index.options.seed, "of bloom and random")
        ->check(CLI::NonNegativeNumber)
        ->group(f->group);
    f->add_flags(app, {}, {"threads", "quiet", "json"});
    return [f, &app] {
        const RunOptions& how = f->options.run;
        if (!f->set_for_text(app, {"threads", "quiet", "json"})) {
            if (f->checkpoint.empty())
                fail(Exit::usage, "checkpoint is required, or --task {} (fci eval --help)", f->group);
            return evaluate(f->checkpoint, f->index.data, how);
        }
        if (!f->checkpoint.empty())
            fail(Exit::usage, "{} and --task {}: an index has no checkpoint", f->checkpoint, f->options.task.task);
        f->refuse_idle_flags(app);
        f->index.threads = how.threads, f->index.json = how.json, f->index.quiet = how.quiet;
        eval_hotpot(f->index);
        return Exit::ok;
    };
}

void show(const GivenOptions& now, const std::string& checkpoint, int count, const ShowStyle& style) {
    if (!checkpoint.empty() && !now.given.empty())
        fail(Exit::usage, "{} and --checkpoint: a checkpoint's own task and test set are shown; leave the flag out",
             flag_of(now.given[0].first));
    if (checkpoint.empty())
        return show_examples(stdout, resolve(now.options.task), now.options.train.seed, count, style);
    const Options o = checkpoint_options(checkpoint, now.options.run);
    Trainer trainer(make_data(o));
    load_checkpoint(checkpoint, trainer);
    if (task_of(o.task).is_text) return show_text(trainer, count, style);
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
        for (int n = 0; n < static_cast<int>(look.chosen.size()); ++n) { // of a segment, its first position
            looked[n / k].positions.push_back(look.chosen[n] * look.place_length);
            if (!look.scores.empty()) looked[n / k].scores.push_back(look.scores[n / k * places + look.chosen[n]]);
        }
        fmt::print("{}test example {}\n", i ? "\n" : "", i + 1);
        show_example(stdout, test, i, notes.empty() ? nullptr : &notes[i], style,
                     look.chosen.empty() ? nullptr : &looked);
        if (look.place_length > 1)
            fmt::print(
                "This router chooses segments of {} positions: #1 stands at the first position of the best one.\n",
                look.place_length);
    }
}

std::function<Exit()> add_show(CLI::App& app) {
    struct Flags : IndexFlags {
        std::string checkpoint;
        int count = 3;
    };
    const auto f = std::make_shared<Flags>();
    f->add_flags(app, {Option::task}, {"seed"});
    app.add_option("--checkpoint", f->checkpoint, "mark where this model's router looks, on its test set");
    app.add_option("--data", f->index.data, "a HotpotQA file; without it an example is generated")->group(f->group);
    f->add_index_flags(app);
    app.add_option("--count", f->count, "how many")->check(CLI::Range(1, 1000000));
    return [f, &app] {
        const ShowStyle style{use_colour(stdout), terminal_width(stdout)};
        if (!f->set_for_text(app, {"seed"})) {
            show(*f, f->checkpoint, f->count, style);
            return Exit::ok;
        }
        if (!f->checkpoint.empty())
            fail(Exit::usage, "--checkpoint and --task {}: an index has no checkpoint", f->options.task.task);
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
    if (o.run.out.empty()) fail(Exit::usage, "generate: --out FOLDER is needed: where the .npy files go");
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
    app.get_option("--seed")->description("of the examples");
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
                          "  fci eval runs/out/NAME/checkpoint.safetensors\n"
                          "  fci eval runs/out/NAME/checkpoint.safetensors --data FOLDER --json\n"
                          "  fci eval runs/out/NAME/checkpoint.safetensors --data FILE.json\n"
                          "  fci eval --task hotpotqa --method bm25 --data hotpot_dev_distractor_v1.json\n",
                          add_eval};

extern const Command show{"show", "print examples as pictures",
                          "  fci show --task der --distractor-key other\n"
                          "  fci show --task mqar --queries many --length 64 --pairs 4\n"
                          "  fci show --checkpoint runs/out/NAME/checkpoint.safetensors --count 5\n"
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
