// Options: everything that can be set, in one table (core/option.h).
#pragma once
#include <functional>
#include <optional>

#include "core/option.h"
#include "model/options.h"
#include "tasks/dataset.h"

namespace fci {

struct TrainOptions {
    double learning_rate = 3e-4, weight_decay = 0.01, clip = 1.0;
    int sequences = 8000, test_sequences = 1000, epochs = 40, added_epochs = 0, batch = 32;
    int64_t seed = 1;
    std::string contrastive = "none";               // none | frozen | finetuned: InfoNCE first, then what becomes of it
    std::string contrastive_target = "projections"; // projections | embeddings: what InfoNCE trains
    std::string bandit_context = "concat";          // concat | product: of the embeddings of q and j
    std::string data, test_data;                    // folders, or HotpotQA files; empty: generate
    std::string init_from;                          // a checkpoint, or weights; empty: from the seed

    int all_epochs() const { return epochs + added_epochs; }
};

// How a run is carried out: this changes no result (the device: only the last digits), so it may differ between a
// run and its resumption.
struct RunOptions {
    int threads = 0; // 0: one for each processor
    std::string device = "auto";
    std::string precision = "fp32"; // of products on a GPU: precision_names
    int stop_after = 0;             // epochs; 0: all
    int checkpoint_every = 0;       // steps; 0: one epoch
    int more_epochs = 0;            // with resume: --epochs +N
    std::string out, resume;
    std::string backbone_cache = "runs/out/features"; // folder of a backbone's features; none: computed each time
    std::string backbone; // where a checkpoint's backbone is now; empty: where it was. Of eval, show and analyze
    bool quiet = false, json = false, tensorboard = false;
};

struct Options {
    TaskOptions task;
    ModelOptions model;
    TrainOptions train;
    RunOptions run;
};

// The whole table, bound to `o`: the tasks', the model's, and those above.
std::vector<Option> table(Options& o);

// Reads a TOML file of options (a config file). An unknown key or a wrong type is an error that names the
// file, the line and the nearest key; `code` is its exit code.
void read_toml(Options&, const std::string& toml, const std::string& file, Exit code = Exit::usage);

// The options of the groups task, model and train as TOML; with_run adds the others.
std::string write_toml(Options, bool with_run = false);

// The first option that differs, among those for which `counts` is true: a's and b's.
std::optional<std::pair<Option, Option>> difference(Options& a, Options& b,
                                                    const std::function<bool(const Option&)>& counts);

// Opens the backbone, if there is one, and fills in what follows from it: its hash, the model's width. Exit::usage
// where it does not fit the options, Exit::bad_data where it is not the one that they name.
void resolve_backbone(Options&);

// Replaces device "auto". Exit::usage for a GPU that is not there, and for --precision on the CPU.
void choose_device(Options&);

// Checks all options together and fills in what is 0 or "auto"; call once all is set.
void resolve(Options&);

} // namespace fci
