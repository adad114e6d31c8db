// fci train, analyze and bench.
#include <charconv>

#include "bench/bench.h"
#include "cli/command.h"
#include "core/files.h"
#include "routing/router.h"
#include "study/analysis.h"
#include "study/commands.h"
#include "study/index_run.h"
#include "study/plan.h"
#include "tasks/task.h"
#include "train/checkpoint.h"

namespace fci {
namespace {

Exit carry_out(GivenOptions& o, const std::string& config, const std::string& reading) {
    const bool resumed = !o.options.run.resume.empty();
    if (!config.empty() && resumed)
        fail(Exit::usage,
             "--config and --resume: a resumed run has the options it was started with; leave --config out");
    if (!reading.empty()) apply_reading(o.options, reading, o.given);
    if (!resumed) refuse_idle(o.options, o.given);
    const bool by_index = router_kind(o.options.model.router).type != RouterKind::in_model && !resumed;
    if (by_index && o.options.run.tensorboard)
        fail(Exit::usage,
             "--tensorboard would do nothing with --router {}: no steps of training are logged; leave it out",
             o.options.model.router);
    return by_index ? train_index(o.options, o.given) : train(o.options, o.given);
}

// Handles --epochs +N, which continues an existing run.
void take_more_epochs(GivenOptions& o) {
    for (auto entry = o.given.begin(); entry != o.given.end();) {
        const auto& [key, word] = *entry;
        if (key != "epochs" || !word.starts_with('+')) {
            ++entry;
            continue;
        }
        int64_t n = 0;
        const auto [end, error] = std::from_chars(word.data() + 1, word.data() + word.size(), n);
        if (error != std::errc() || end != word.data() + word.size() || n < 1 || n > largest_size)
            fail(Exit::usage, "--epochs {}: expected the number of epochs to add after the +, from 1 to {:.0f}", word,
                 largest_size);
        if (std::none_of(o.given.begin(), o.given.end(), [](const auto& g) { return g.first == "resume"; }))
            fail(Exit::usage, "--epochs {}: there is no run to add epochs to; write --resume RUN --epochs {}", word,
                 word);
        o.options.run.more_epochs = static_cast<int>(n);
        entry = o.given.erase(entry);
    }
}

std::function<Exit()> add_train(CLI::App& app) {
    struct Flags : GivenOptions {
        std::string config, reading;
    };
    const auto f = std::make_shared<Flags>();
    f->add_flags(app, {Option::task, Option::model, Option::train, Option::run});
    app.add_option("--reading", f->reading, "a named set of options: a NAME of runs/readings.toml, or FILE.toml:NAME")
        ->group("run");
    app.add_option("--config", f->config, "read options from this TOML file first; flags override it")->group("run");
    return [f] {
        if (!f->config.empty()) read_toml(f->options, read_file(f->config), f->config);
        take_more_epochs(*f);
        f->set();
        return carry_out(*f, f->config, f->reading);
    };
}

std::function<Exit()> add_analyze(CLI::App& app) {
    struct Flags : GivenOptions {
        std::string checkpoint, data;
        int sequences = 32;
    };
    const auto f = std::make_shared<Flags>();
    add_checkpoint(app, "checkpoint", f->checkpoint)->required();
    app.add_option("--data", f->data, "use this folder of .npy files instead; hotpotqa: this file")->check(not_empty());
    app.add_option("--sequences", f->sequences,
                   "number of test sequences for the rank of the scores, which is slow to compute")
        ->check(CLI::Range(1, 1000000));
    f->add_flags(app, {}, {"threads", "quiet", "json"});
    add_backbone_flags(app, f->options.run);
    return [f] {
        f->set();
        return analyze(checkpoint_file(f->checkpoint), f->data, f->sequences, f->options.run);
    };
}

std::function<Exit()> add_bench(CLI::App& app) {
    const auto b = std::make_shared<BenchOptions>();
    CLI::Option* scaling =
        app.add_flag("--scaling", b->scaling, "time and memory of routing by length, up to 1,000,000 tokens");
    app.add_option("--out", b->out, "with --scaling: also write the table here, tab-separated")->needs(scaling);
    app.add_option("--task", b->task, "der (L 512), mqar (L 256) or hotpotqa (L 1024); without it all three")
        ->check(CLI::IsMember(task_names()));
    app.add_option("--representation", b->representation, "only this representation");
    app.add_option("--threads", b->threads, "0: one for each processor")->check(CLI::Range(0, 1024));
    app.add_option("--steps", b->steps, "timed steps of each")->check(CLI::Range(1, 100000));
    app.add_flag("--json", b->json, "end with one JSON object on standard output");
    CLI::Option* device = app.add_option("--device", b->device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
    add_precision(app, b->precision)->needs(device);
    app.add_flag("--runs", b->runs, "cuda: also the paper's runs from start to end, seconds each")->needs(device);
    for (const char* other :
         {"--task", "--representation", "--threads", "--steps", "--json", "--device", "--precision", "--runs"})
        scaling->excludes(app.get_option(other));
    return [b] {
        run_bench(*b);
        return Exit::ok;
    };
}

} // namespace

namespace command_entries {

extern const Command train{"train", "train a model",
                           "  fci train --task mqar\n"
                           "  fci train --task der --representation flow:2 --learning-rate 1e-3\n"
                           "  fci train --task mqar --length 128 --sequences 2000 --epochs 10 --out /tmp/try\n"
                           "  fci train --task hotpotqa --length 512 --test-data FILE.json\n"
                           "  fci train --task der --reading marker-fixed-same-everywhere\n"
                           "  fci train --config runs/out/NAME/config.toml --seed 3\n"
                           "  fci train --task der --backbone FOLDER --representation raw\n"
                           "  fci train --task der --backbone FOLDER --representation transformer:1\n"
                           "  fci train --resume runs/out/NAME\n"
                           "  fci train --resume runs/out/NAME --data NEWPLACE      its data have moved\n"
                           "  fci train --resume runs/out/NAME --epochs +1          one epoch more\n"
                           "  fci train --task mqar --init-from runs/out/NAME\n",
                           add_train};

extern const Command analyze{"analyze", "cosines, ranks and random projections of a trained model",
                             "  fci analyze runs/out/NAME\n"
                             "  fci analyze runs/out/NAME --sequences 100 --json\n",
                             add_analyze};

extern const Command bench{"bench", "measure the speed of each op and of whole steps on this machine",
                           "  fci bench\n"
                           "  fci bench --task der --representation bidir-flow:1\n"
                           "  fci bench --device cuda --json\n"
                           "  fci bench --scaling --out scaling.tsv\n",
                           add_bench};

} // namespace command_entries

} // namespace fci
