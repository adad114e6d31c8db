#include "train/options.h"

#include <cmath>
#include <filesystem>

#include "core/nearest.h"
#include "core/workers.h"
#include "routing/router.h"
#include "tasks/task.h"
#include "train/options_toml.h"
#include "train/provenance.h"

namespace fci {

std::vector<Option> table(Options& o) {
    OptionTable t{Option::train, option_table(o.task)};
    t.append(option_table(o.model));
    TrainOptions& n = o.train;
    t.number("learning_rate", &n.learning_rate, 0, 1e6, "the highest of the one-cycle schedule");
    t.number("weight_decay", &n.weight_decay, 0, 1e6, "AdamW's, of every parameter");
    t.number("clip", &n.clip, 0, no_limit, "greatest global norm of the gradient; 0: none");
    t.number("sequences", &n.sequences, 1, most_of_int, "training sequences");
    t.number("test_sequences", &n.test_sequences, 1, most_of_int,
             "test sequences; ten times as many in the final test");
    t.number("epochs", &n.epochs, 1, largest_size, "epochs that the schedules span");
    t.number("batch", &n.batch, 1, largest_size, "sequences a step");
    t.number("seed", &n.seed, 0, 9007199254740992.0, "of data, start values and order");
    t.word("contrastive", &n.contrastive, {"none", "frozen", "finetuned"},
           "10 epochs of InfoNCE first; then Wq and Wk stay, or learn on");
    t.word("contrastive_target", &n.contrastive_target, {"projections", "embeddings"}, "what --contrastive trains");
    t.word("bandit_context", &n.bandit_context, {"concat", "product"}, "bandits: of the embeddings of query and arm");
    t.any("data", &n.data, "train on this folder of .npy files (fci generate makes one); hotpotqa: on this file");
    t.any("test_data", &n.test_data, "test on this folder, or file; without it the last of --data is held out");

    t.group = Option::run;
    RunOptions& r = o.run;
    t.number("threads", &r.threads, 0, 1024, "worker threads; 0: one a processor; changes no bit of the result");
    t.word("device", &r.device, {"auto", "cpu", "cuda"}, "where to compute; auto: on a GPU where there is one");
    t.any("tf32", &r.tf32, "on a GPU: products in TF32, with 10 bits after the point");
    t.number("stop_after", &r.stop_after, 0, largest_size,
             "stop after this many epochs, schedules unchanged; 0: run all");
    t.number("checkpoint_every", &r.checkpoint_every, 0, most_of_int, "steps between checkpoints; 0: one epoch");
    t.any("out", &r.out, "run folder; default: a new one in runs/out");
    t.any("resume", &r.resume, "continue the run in this folder");
    t.any("quiet", &r.quiet, "no progress");
    t.any("json", &r.json, "end with one JSON object on standard output");
    return t.all;
}

toml::table parse_toml(const std::string& text, const std::string& file, Exit code) {
    try {
        return toml::parse(text, file);
    } catch (const toml::parse_error& e) {
        fail(code, "{}:{}:{}: not TOML: {}", file, e.source().begin.line, e.source().begin.column, e.description());
    }
}

const Option& set_from_toml(const std::vector<Option>& all, const std::string& key, const toml::node& node,
                            const std::string& file, Exit code, std::vector<std::string> others) {
    const std::string where = fmt::format("{}:{}: {}", file, node.source().begin.line, key);
    const Option* option = find_option(all, key);
    if (!option) {
        for (const Option& o : all) others.push_back(o.key);
        fail(code, "{}: no such option{}", where, did_you_mean(key, others));
    }
    OptionValue v;
    if (node.is_string())
        v = node.value<std::string>().value();
    else if (node.is_boolean())
        v = node.value<bool>().value();
    else if (node.is_integer())
        v = node.value<int64_t>().value();
    else if (node.is_floating_point())
        v = node.value<double>().value();
    set(*option, v, where, where + " =", code);
    return *option;
}

void read_toml(Options& options, const std::string& text, const std::string& file, Exit code) {
    const toml::table doc = parse_toml(text, file, code);
    const std::vector<Option> all = table(options);
    for (const auto& [key, node] : doc)
        if (key.str() != "provenance") // what config.toml records besides
            set_from_toml(all, std::string(key.str()), node, file, code);
}

std::string write_toml(Options o, bool with_run) {
    std::string text;
    for (const Option& entry : table(o))
        if (with_run || entry.group != Option::run) text += entry.key + " = " + entry.text() + "\n";
    return text;
}

namespace {

// "auto" takes a GPU where there is one.
void choose_device(Options& o) {
    const Gpu gpu = o.run.device == "cpu" ? Gpu{} : find_gpu();
    if (o.run.device == "cuda" && !gpu.present)
        fail(Exit::usage, "--device cuda: {}. Without a GPU use --device cpu (or leave it out)", gpu.why);
    if (o.run.device == "auto") o.run.device = gpu.present && !gpu.emulated ? "cuda" : "cpu";
    if (o.run.tf32 && o.run.device == "cpu")
        fail(Exit::usage, "--tf32 is for products on a GPU, and this run is on the CPU: leave it out");
    if (o.run.tf32 && o.run.device == "cuda") cuda::allow_tf32();
}

} // namespace

void resolve(Options& o) {
    for (std::string* folder : {&o.train.data, &o.train.test_data}) // a run may be resumed from anywhere
        if (!folder->empty()) *folder = std::filesystem::absolute(*folder).lexically_normal().string();
    const bool text = task_of(o.task).is_text;
    if (o.train.data.empty() || text) {
        if (!o.train.test_data.empty() && !text) fail(Exit::usage, "--test-data needs --data too");
        o.task = resolve(o.task);
        check_model(o.model, o.task.vocab, o.task.length);
        if (o.train.data.empty() && o.train.batch > o.train.sequences)
            fail(Exit::usage, "--batch {} is more than --sequences {}: there would be no whole batch", o.train.batch,
                 o.train.sequences);
    } else
        check_model(o.model, 1 << 24, no_length); // again, by the trainer, once the data is read
    if (text && (!router_kind(o.model.router).build))
        fail(Exit::usage,
             "--router {}: {} is learned by routing alone, to several right positions and no answer token, which "
             "this router cannot; fci eval --task hotpotqa --method bm25 (bloom, random) measures indices",
             o.model.router, o.task.task);
    if (o.train.contrastive != "none" && !router_kind(o.model.router).contrasts)
        fail(Exit::usage, "--contrastive {} trains Wq and Wk: it needs --router investigator, not {}",
             o.train.contrastive, o.model.router);
    o.model.seed = static_cast<uint64_t>(o.train.seed);
    if (!std::isfinite(o.train.learning_rate) || o.train.learning_rate <= 0)
        fail(Exit::usage, "--learning-rate {} must be above 0", o.train.learning_rate);
    if (o.run.stop_after > o.train.epochs)
        fail(Exit::usage, "--stop-after {} is more than --epochs {}", o.run.stop_after, o.train.epochs);
    if (o.run.threads == 0) o.run.threads = Workers::available();
    choose_device(o);
}

} // namespace fci
