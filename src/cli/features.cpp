// fci features: a pretrained model's features of a dataset as an array, so that anyone can compare them.
//   FILE.npy   (sequences, length, width) float32: the hidden states after --backbone-layer of every token
#include "pretrained/features.h"

#include <filesystem>

#include "cli/command.h"
#include "core/files.h"
#include "core/signals.h"
#include "tasks/npy.h"
#include "train/data.h"

namespace fci {
namespace {

Exit write_array(Options o, const std::string& out) {
    const SignalGuard guard;
    if (o.run.threads == 0) o.run.threads = Workers::available();
    expect_writable(out);
    namespace fs = std::filesystem;
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(o.train.data, ignored))
        if (fs::equivalent(file.path(), out, ignored))
            fail(Exit::usage, "--out {}: this is a file of --data, which would be overwritten; choose another name",
                 out);
    const Dataset d = load_described(o.train.data, o.task);
    o.model.backbone_precision = "fp32"; // unrounded
    resolve_backbone(o);
    choose_device(o);
    const FeatureChoice choice = feature_choice(o);
    const int width = choice.backbone->shape().width;
    Workers workers(o.run.threads);
    AtomicFile file(out);
    file.write(npy_header("<f4", {d.count, d.length, width}));
    make_features(d, choice, workers, tell_features(o.run.quiet), [&](const float* part, int n) {
        file.write({reinterpret_cast<const char*>(part), sizeof(float) * n * d.length * width});
    });
    file.commit();
    if (!o.run.quiet)
        fmt::print("{}: ({}, {}, {}) float32, layer {} of {}, {:016x}\n", out, d.count, d.length, width, choice.layer,
                   o.model.backbone, choice.backbone->hash());
    return Exit::ok;
}

std::function<Exit()> add_features(CLI::App& app) {
    const auto f = std::make_shared<GivenOptions>();
    f->add_flags(
        app, {},
        {"backbone", "backbone_layer", "backbone_weights", "data", "out", "threads", "device", "precision", "quiet"});
    app.get_option("--backbone")->description("folder of a pretrained model: config.json, *.safetensors")->required();
    app.get_option("--data")->description("folder of .npy files, as fci generate makes one: its sequences")->required();
    app.get_option("--out")->description("the .npy file")->required();
    return [f] {
        f->set();
        return write_array(f->options, f->options.run.out);
    };
}

} // namespace

namespace command_entries {

extern const Command features{
    "features", "write a pretrained model's hidden states of a dataset as an array",
    "  fci generate --task der --out data/der\n"
    "  fci features --backbone FOLDER --data data/der --out states.npy\n"
    "  fci features --backbone FOLDER --data data/der --backbone-layer 0 --out embedding.npy\n",
    add_features};

} // namespace command_entries

} // namespace fci
