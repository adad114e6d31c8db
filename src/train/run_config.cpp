#include "train/run_config.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "core/files.h"
#include "core/json.h"
#include "train/checkpoint.h"
#include "train/run_log.h"

namespace fci {
namespace {

bool has(const Given& given, const char* key) {
    return std::any_of(given.begin(), given.end(), [&](const auto& g) { return g.first == key; });
}

// What is read from elsewhere: it may move between a run and its resumption.
bool names_place(const Option& o) { return o.key == "data" || o.key == "test_data" || o.key == "backbone"; }

const std::string provenance_heading = "\n[provenance]\n";

// What comes before that in config.toml.
std::string config_of(const Options& o) {
    return "# What this run was started with; `fci train --config` reads it, `--resume` continues it.\n" +
           write_toml(o) +
           (o.model.has_backbone() ? "backbone_cache = " + json_quote(o.run.backbone_cache) + "\n" : "");
}

} // namespace

void write_config(const std::string& path, const Trainer& trainer, std::optional<uint64_t> init_hash) {
    std::string text = config_of(trainer.options()) + provenance_heading;
    for (const auto& [key, value] : provenance(trainer.options().run)) text += key + " = " + json_quote(value) + "\n";
    text += fmt::format("data_hash = \"{:016x}\"\n", trainer.data_hash());
    if (init_hash) text += fmt::format("init_hash = \"{:016x}\"\n", *init_hash);
    write_file_atomically(path, text);
}

Options options_to_train(const Options& asked, const Given& given) {
    Options o = asked;
    const TrainOptions& t = o.train;
    for (const Option& entry : table(o))
        for (const auto& [key, word] : given) {
            if (key != entry.key) continue;
            const bool of_test = key == "test_sequences",
                       of_task = entry.group == Option::task && !task_of(o.task).is_text;
            if (!t.data.empty() && (of_task || key == "sequences")) // a file of text can be cut at any length
                fail(Exit::usage, "{} {} and --data: the data already decide this; leave the flag out", entry.flag(),
                     word);
            if (!t.test_data.empty() && of_test)
                fail(Exit::usage, "{} {} and --test-data: the data already decide this; leave the flag out",
                     entry.flag(), word);
        }
    if ((has(given, "backbone") || has(given, "backbone_weights")) && !has(given, "backbone_hash"))
        o.model.backbone_hash.clear(); // that of a --config is of another one
    o.train.init_from = checkpoint_file(o.train.init_from);
    resolve(o);
    return o;
}

void expect_as_many_as_given(const Options& asked, const Given& given, const Options& o) {
    for (const auto& [key, word] : given)
        if (key == "test_sequences" && asked.train.test_sequences != o.train.test_sequences)
            fail(Exit::usage,
                 "--test-sequences {}: of the {} sequences in {} at most a fifth, {}, can be held out; name "
                 "a test set with --test-data",
                 word, o.train.sequences + o.train.test_sequences, o.train.data, o.train.test_sequences);
}

Options resumed_options(const std::string& folder, const Options& now, const Given& given) {
    const std::string path = folder + "/config.toml";
    if (!std::filesystem::exists(path))
        fail(Exit::usage,
             "--resume {}: there is no run in it (no config.toml); expected a run's folder, e.g. runs/out/NAME, or the "
             "checkpoint.safetensors in it",
             folder);
    Options o;
    read_toml(o, read_file(path), path, Exit::bad_data);
    Options asked = o;
    for (const auto& [key, word] : given)
        for (const Option& entry : table(asked))
            if (entry.key == key) set_from_text(entry, word);
    const auto fixed = [](const Option& x) { return x.group != Option::run && !names_place(x); };
    if (const auto d = difference(o, asked, fixed))
        fail(Exit::usage,
             "{} {}: the run in {} has {}; leave the flag out to continue it, or start a new run with --out{}",
             d->second.flag(), d->second.text(), folder, d->first.text(),
             d->first.key == "epochs" ? "; --epochs +N adds epochs" : "");
    if (now.run.more_epochs > largest_size - o.train.all_epochs())
        fail(Exit::usage, "--epochs +{}: a run has at most {:.0f} epochs, and this one has {}", now.run.more_epochs,
             largest_size, o.train.all_epochs());
    o.train.added_epochs += now.run.more_epochs;
    const bool names_cache = has(given, "backbone_cache");
    const std::string cache = o.run.backbone_cache;
    o.run = now.run;
    if (!names_cache) o.run.backbone_cache = cache;
    for (const auto& [path, moved, flag] : {std::tuple(&o.train.data, asked.train.data, "--data"),
                                            {&o.train.test_data, asked.train.test_data, "--test-data"},
                                            {&o.model.backbone, asked.model.backbone, "--backbone"}}) {
        const bool backbone = path == &o.model.backbone;
        if (path->empty() && !moved.empty())
            fail(Exit::usage, "{} {}: the run in {} {}; leave the flag out", flag, moved, folder,
                 backbone ? "has no backbone" : "generates its data");
        *path = moved;
        if (!moved.empty() && !std::filesystem::exists(moved))
            fail(Exit::bad_data, "{}: the {} of the run in {} not there; if {} moved, name the place with {}", moved,
                 backbone ? "backbone" : "data", folder + (backbone ? " is" : " are"),
                 backbone ? "it has" : "they have", flag);
    }
    return o;
}

void expect_data_of(const std::string& path, const Trainer& trainer) {
    const Options& o = trainer.options();
    const std::string config = read_file(path), key = "\ndata_hash = ";
    if (!generates(o) && config.find(key) != std::string::npos &&
        config.find(fmt::format("{}\"{:016x}\"\n", key, trainer.data_hash())) == std::string::npos)
        fail(Exit::bad_data,
             "{}: the run was started on other data than {} holds now; put them back, or name their place with --data",
             path, o.train.data.empty() ? o.train.test_data : o.train.data);
}

void expect_no_checkpoint_yet(const std::string& checkpoint, const std::string& log, const Trainer& trainer) {
    const int64_t epochs = read_run_log(log).epochs;
    if (epochs >= 2 && trainer.options().run.checkpoint_every == 0)
        fail(Exit::bad_data,
             "{}: not there, but log.jsonl has {} epochs; restore it, or start a new run with --out "
             "(--checkpoint-every N: go on without it, from the first step)",
             checkpoint, epochs);
}

void record_changes(const std::string& path, const Trainer& trainer) {
    const std::string config = read_file(path);
    const Options& now = trainer.options();
    Options then;
    read_toml(then, config, path, Exit::bad_data);
    if (then.train.data == now.train.data && then.train.test_data == now.train.test_data &&
        then.model.backbone == now.model.backbone && then.train.added_epochs == now.train.added_epochs &&
        (!now.model.has_backbone() || then.run.backbone_cache == now.run.backbone_cache))
        return;
    const size_t recorded = config.find(provenance_heading);
    write_file_atomically(path, config_of(now) + (recorded == std::string::npos ? "" : config.substr(recorded)));
}

} // namespace fci
