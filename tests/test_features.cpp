// A frozen backbone below a model, with the tests' own backbone instead of a pretrained one: which models learn on its
// features, which options fit, the file that stores the features, checkpoints, and rows.
#include <cmath>
#include <cstring>
#include <fstream>

#include "cli/command.h"
#include "core/files.h"
#include "ops/linear.h"
#include "pretrained/features.h"
#include "study/plan.h"
#include "tests/scratch.h"
#include "tests/tiny_backbone.h"
#include "train/checkpoint.h"
#include "train/run.h"

using namespace fci;

namespace {

// Key-value pairs: the features of a value's row identify its key.
Options on_backbone(const std::string& folder, const std::string& representation = "raw") {
    Options o;
    o.task.length = 20, o.task.pairs = 4, o.task.vocab = 32;
    o.model.representation = representation, o.model.backbone = folder, o.model.heads = 2;
    o.train.sequences = 512, o.train.test_sequences = 64, o.train.epochs = 24, o.train.learning_rate = 5e-3;
    o.run.threads = 2, o.run.backbone_cache = folder + "/cache", o.run.quiet = true, o.run.device = "cpu";
    resolve(o);
    return o;
}

// The answer is the value's row instead of the key's. The key's row comes before, so its features tell nothing of the
// value.
double routing_of(const Options& o) {
    TrainerData data = make_data(o);
    for (Dataset* d : {&data.train, &data.test})
        for (int32_t& answer : d->answer) ++answer;
    Trainer t(std::move(data));
    while (t.steps_done() < t.steps_total()) t.step();
    const Counts c = t.evaluate();
    return c.percent(c.at_1);
}

std::vector<float> after_three_steps(const Options& o) {
    Trainer t(make_data(o));
    for (int i = 0; i < 3; ++i) t.step();
    return t.parameters();
}

std::string the_file(const std::string& cache) {
    std::string found;
    for (const auto& e : std::filesystem::recursive_directory_iterator(cache))
        if (e.path().filename() == "features.safetensors") found = e.path().string();
    return found;
}

Dataset two_sequences() {
    Dataset d;
    d.count = 2, d.length = 3, d.vocab = 32;
    d.tokens = {1, 2, 3, 4, 5, 6};
    return d;
}

} // namespace

TEST_CASE("features: a router learns on what the backbone's layers tell, not on its embedding", "[features]") {
    const TinyBackbone::Folder folder;
    Options o = on_backbone(folder.path);
    CHECK(o.model.d_model == TinyBackbone::width);
    CHECK(routing_of(o) > 90);
    o.model.backbone_layer = 0;
    CHECK(routing_of(o) < 50);
    Options mapped = on_backbone(folder.path, "transformer:1"); // a bridge, and a map to another width
    mapped.model.backbone_width = "24";
    resolve(mapped);
    CHECK(mapped.model.d_model == 24);
    CHECK(routing_of(mapped) > 90);
    Trainer t(make_data(mapped));
    CHECK(t.parameter("backbone.map.weight").shape == Shape{24, TinyBackbone::width});
}

TEST_CASE("features: the same bits from a file and anew, for any number of threads; made once", "[features]") {
    const TinyBackbone::Folder folder;
    Options o = on_backbone(folder.path, "transformer:1");
    const int before = TinyBackbone::made;
    const auto kept = after_three_steps(o);
    const int made = TinyBackbone::made - before;
    CHECK(made == o.train.sequences + o.train.test_sequences);
    o.run.threads = 1;
    CHECK(after_three_steps(o) == kept);
    CHECK(TinyBackbone::made - before == made);
    o.run.backbone_cache = "none";
    CHECK(after_three_steps(o) == kept);
    o.model.backbone_precision = "fp32";
    const auto exact = after_three_steps(o);
    CHECK(exact != kept);
    o.run.backbone_cache = folder.path + "/cache";
    CHECK(after_three_steps(o) == exact);
    o.model.backbone_weights = "random", o.model.backbone_hash.clear();
    resolve(o);
    CHECK(after_three_steps(o) != exact);
}

TEST_CASE("features: the file is safetensors, and a damaged one is refused", "[features]") {
    const TinyBackbone::Folder folder;
    const auto backbone = shared_backbone(folder.path, false);
    Workers workers(2);
    const std::string cache = folder.path + "/cache";
    const Dataset d = two_sequences();
    const FeatureChoice choice{backbone, 1, false, cache, "one"};
    const auto features = features_of(d, choice, workers);
    std::vector<float> expected(6 * TinyBackbone::width), found(expected.size());
    backbone->hidden(d.tokens.data(), 2, 3, 1, expected.data(), workers, Device::cpu);
    const int both[] = {0, 1};
    features->read(both, 2, found.data());
    CHECK(found == expected);

    const std::string path = the_file(cache), bytes = read_file(path);
    const SafetensorsFile file(path);
    const StoredTensor& tensor = file.require("features", "F32", {2, 3, TinyBackbone::width});
    CHECK(std::memcmp(tensor.data, expected.data(), tensor.bytes) == 0);
    CHECK(file.metadata().at("backbone") == fmt::format("{:016x}", backbone->hash()));
    CHECK(file.metadata().at("build") == "one");
    // Another build's last bits are others: it does not take this file.
    const int made = TinyBackbone::made;
    const FeatureChoice other_build{backbone, 1, false, folder.path + "/builds", "other"};
    features_of(d, other_build, workers);
    std::filesystem::copy(cache, other_build.cache, std::filesystem::copy_options::recursive);
    FeatureChoice same_build = other_build;
    same_build.build = "one";
    features_of(d, same_build, workers); // this one is there
    CHECK(TinyBackbone::made == made + d.count);

    const auto refused = [&](const std::string& with) {
        std::ofstream(path, std::ios::binary) << with;
        expect_error(error_of([&] { features_of(d, choice, workers); }), Exit::bad_data, "remove it");
    };
    refused(bytes.substr(0, bytes.size() - 1));
    refused(bytes + "x");
    refused("");
    std::string other = bytes;
    other[other.find("\"layer\":\"1\"") + 9] = '0';
    refused(other);
    std::ofstream(path, std::ios::binary) << bytes;
    const auto again = features_of(d, choice, workers);
    std::filesystem::resize_file(path, bytes.size() - 4);
    expect_error(error_of([&] { again->read(both, 2, found.data()); }), Exit::bad_data, "truncated while in use");
}

TEST_CASE("features: of two that want a file one makes it and the other waits", "[features][threads]") {
    const TinyBackbone::Folder folder;
    Options o = on_backbone(folder.path);
    Workers both(2);
    const Dataset d = make_data(o).train;
    const int before = TinyBackbone::made;
    int width[2] = {};
    both.run(2, [&](int i, int) {
        Workers alone(1);
        width[i] = features_of(d, feature_choice(o), alone)->width;
    });
    CHECK((width[0] == TinyBackbone::width && width[1] == TinyBackbone::width));
    CHECK(TinyBackbone::made - before == d.count);
}

TEST_CASE("features: a full disk and states that fp16 cannot hold are errors, and leave no file", "[features]") {
    const TinyBackbone::Folder folder;
    Options o = on_backbone(folder.path);
    Dataset d = make_data(o).train;
    Workers workers(1);
    expect_error(error_in_child([&] {
                     limit_file_size(10000);
                     Workers alone(1);
                     features_of(d, feature_choice(o), alone);
                 }),
                 Exit::internal, "--backbone-cache");
    CHECK(the_file(o.run.backbone_cache).empty());
    const Dataset two = two_sequences();
    Dataset odd = two;
    odd.tokens[4] = TinyBackbone::vocab;
    expect_error(error_of([&] { features_of(odd, feature_choice(o), workers); }), Exit::bad_data,
                 "token 48 at 1 of sequence 1: the backbone has tokens 0 to 47");
    odd.tokens[4] = TinyBackbone::huge;
    expect_error(error_of([&] { features_of(odd, feature_choice(o), workers); }), Exit::non_finite,
                 "sequence 1, which fp16 cannot hold: use --backbone-precision fp32");
    o.model.backbone_precision = "fp32";
    CHECK_NOTHROW(features_of(odd, feature_choice(o), workers));
    Dataset longer = two;
    longer.count = 1, longer.length = 100, longer.tokens.assign(100, 1);
    expect_error(error_of([&] { features_of(longer, feature_choice(o), workers); }), Exit::bad_data,
                 "has only 64 positions");
}

TEST_CASE("features: what does not fit a backbone is refused with the remedy", "[features]") {
    const TinyBackbone::Folder folder, other(7);
    const auto refused = [&](auto change, Exit exit, const std::string& part) {
        Options o;
        o.task.length = 20, o.task.pairs = 4, o.task.vocab = 32;
        o.model.representation = "raw", o.model.backbone = folder.path, o.run.device = "cpu";
        change(o);
        expect_error(error_of([&] { resolve(o); }), exit, part);
    };
    refused([](Options& o) { o.model.embeddings = "anchors"; }, Exit::usage, "leave one out");
    refused([](Options& o) { o.train.contrastive = "frozen"; }, Exit::usage, "leave one out");
    refused([](Options& o) { o.model.router = "bloom"; }, Exit::usage, "take another router");
    refused([](Options& o) { o.model.router = "linucb"; }, Exit::usage, "take another router");
    refused([](Options& o) { o.task.vocab = 64; }, Exit::usage, "the backbone has only 48 tokens");
    refused([](Options& o) { o.task.length = 128; }, Exit::usage, "has only 64 positions");
    refused([](Options& o) { o.model.backbone_layer = 3; }, Exit::usage, "has 2 layers");
    refused([](Options& o) { o.model.backbone_width = "wide"; }, Exit::usage, "native, or a width");
    refused([](Options& o) { o.model.heads = 3; }, Exit::usage, "multiple of --heads");
    refused([&](Options& o) { o.model.backbone_hash = std::string(16, '0'); }, Exit::bad_data, "another backbone");
    refused([](Options& o) { o.model.backbone.clear(), o.model.backbone_hash = "1"; }, Exit::usage,
            "--backbone FOLDER");
    Options idle;
    idle.model.backbone_layer = 1;
    expect_error(error_of([&] {
                     refuse_idle(idle, {{"backbone_layer", "1"}});
                 }),
                 Exit::usage, "would do nothing without --backbone");
    idle.model.backbone = folder.path, idle.model.d_model = 64;
    expect_error(error_of([&] { refuse_idle(idle, {{"d_model", "64"}}); }), Exit::usage, "--backbone-width");
    idle.model.d_model = 128;
    expect_error(error_of([&] { refuse_idle(idle, {{"d_model", "128"}}); }), Exit::usage, "--backbone-width");
    expect_error(error_of([&] { refuse_idle(idle, {{"positions", "none"}}); }), Exit::usage, "have positions");
}

TEST_CASE("features: a run's hash has what is in the folder, and not where it is", "[features]") {
    const TinyBackbone::Folder one, moved, other(7);
    const auto hash = [](Options o) { return run_hash(o); };
    const Options o = on_backbone(one.path);
    CHECK(hash(o) == hash(on_backbone(moved.path)));
    CHECK(hash(o) != hash(on_backbone(other.path)));
    Options last = o;
    last.model.backbone_layer = 2, resolve(last);
    CHECK(hash(last) == hash(o));
    last.model.backbone_layer = 1, resolve(last);
    CHECK(hash(last) != hash(o));
    Options plain;
    plain.model.backbone_weights = "random", plain.model.backbone_layer = 3; // have no effect without one
    CHECK(hash(plain) == hash(Options()));
}

TEST_CASE("features: a backbone given by hand is not held to the hash in --config", "[features]") {
    const TinyBackbone::Folder one, other(7);
    Options o = on_backbone(one.path);
    CHECK(options_to_train(o, {}).model.backbone_hash == o.model.backbone_hash);
    o.model.backbone = other.path;
    expect_error(error_of([&] { options_to_train(o, {}); }), Exit::bad_data, "another backbone");
    CHECK(options_to_train(o, {{"backbone", other.path}}).model.backbone_hash == fmt::format("{:016x}", 1007));
}

TEST_CASE("features: a checkpoint goes on with its backbone wherever it is, and with no other", "[features]") {
    const TinyBackbone::Folder one, moved, other(7);
    const Options o = on_backbone(one.path);
    const std::string path = one.path + "/checkpoint.safetensors";
    Trainer t(make_data(o));
    for (int i = 0; i < 3; ++i) t.step();
    save_checkpoint(path, t, {});
    RunOptions how = o.run;
    how.backbone = moved.path;
    Trainer measured(make_data(checkpoint_options(path, how)));
    load_model(path, measured);
    CHECK(measured.parameters() == t.parameters());
    Trainer goes_on(make_data(on_backbone(moved.path)));
    load_checkpoint(path, goes_on);
    t.step(), goes_on.step();
    CHECK(goes_on.parameters() == t.parameters());
    how.backbone = other.path;
    expect_error(error_of([&] { checkpoint_options(path, how); }), Exit::bad_data, "another backbone");
    how.backbone = one.path + "/nowhere";
    expect_error(error_of([&] { checkpoint_options(path, how); }), Exit::bad_data, "name its folder with --backbone");
    const std::optional<Counts> final = t.final_test();
    REQUIRE(final);
    CHECK(final->queries == final_times * o.train.test_sequences);
}

TEST_CASE("features: a row on a pretrained model runs where its folder is", "[features]") {
    const TinyBackbone::Folder here;
    Scratch scratch;
    std::filesystem::create_directory_symlink(here.path, scratch / "tiny");
    write_file_atomically(scratch / "scales.toml", "[small]\nlearning_rates = [0.001]\n");
    write_file_atomically(scratch / "a.toml",
                          "[[row]]\nid = \"a\"\ntask = \"mqar\"\npairs = 4\nvocab = 32\nlength = 34\n"
                          "representation = \"raw\"\nbackbone = \"tiny\"\nheads = 2\n"
                          "[[row]]\nid = \"b\"\ntask = \"mqar\"\nbackbone = \"absent\"\n"
                          "representation = \"transformer:1\"\n");
    Study study = load_study(scratch.path);
    CHECK(study.rows[0].representation == "tiny frozen");
    CHECK(study.rows[1].representation == "absent frozen + transformer:1");
    CHECK(study.rows[0].needs == "weights");
    CHECK(runs_of(plan(study.rows, study.scale("small")), 1).empty());
    place_backbones(study.rows, scratch.path);
    CHECK(study.rows[0].needs.empty());
    CHECK(study.rows[1].needs == "weights");
    const std::vector<PlannedRun> runs = runs_of(plan(study.rows, study.scale("small")), 1);
    REQUIRE(runs.size() == 1);
    Options o = runs[0].options;
    resolve(o);
    CHECK(run_hash(o) == runs[0].hash);
    expect_error(error_of([&] { place_backbones(study.rows, scratch / "a.toml"); }), Exit::usage, "expected a folder");
}

TEST_CASE("features: fci features writes the hidden states as an array", "[features]") {
    const TinyBackbone::Folder folder;
    Scratch scratch;
    std::filesystem::create_directory(scratch / "data");
    const auto run = [&](const std::string& name, std::vector<std::string> words) {
        for (const Command* c : commands())
            if (name == c->name) {
                CLI::App app;
                const auto act = c->add(app);
                std::reverse(words.begin(), words.end());
                app.parse(words);
                return act();
            }
        return Exit::internal;
    };
    REQUIRE(run("generate", {"--task", "mqar", "--vocab", "32", "--pairs", "4", "--length", "20", "--sequences", "5",
                             "--out", scratch / "data"}) == Exit::ok);
    REQUIRE(run("features", {"--backbone", folder.path, "--data", scratch / "data", "--out", scratch / "x.npy",
                             "--quiet", "--threads", "2", "--backbone-layer", "1"}) == Exit::ok);
    const std::string file = read_file(scratch / "x.npy");
    CHECK(file.find("'<f4', 'fortran_order': False, 'shape': (5, 20, 16)") != std::string::npos);
    TaskOptions task;
    const Dataset d = load_described(scratch / "data", task);
    std::vector<float> expected(size_t{5} * 20 * 16);
    Workers workers(1);
    shared_backbone(folder.path, false)->hidden(d.tokens.data(), 5, 20, 1, expected.data(), workers, Device::cpu);
    REQUIRE(file.size() % 64 == expected.size() * 4 % 64);
    CHECK(std::memcmp(file.data() + file.size() - expected.size() * 4, expected.data(), expected.size() * 4) == 0);
    expect_error(error_of([&] {
                     run("features", {"--backbone", folder.path, "--data", scratch / "data", "--out", scratch / "y.npy",
                                      "--backbone-layer", "3"});
                 }),
                 Exit::usage, "has 2 layers");
    CHECK(!std::filesystem::exists(scratch / "y.npy"));
    expect_error(error_of([&] {
                     run("features", {"--backbone", folder.path, "--data", scratch / "data", "--out",
                                      scratch / "data/../data/tokens.npy"});
                 }),
                 Exit::usage, "a file of --data");
}

TEST_CASE("linear: no gradient of x where nobody asks for it, the others the same", "[features]") {
    const LinearShape s{3, 4, 5};
    std::vector<float> x(12), w(20), dy(15), dx(12), dw(20), db(5), only_w(20), only_b(5);
    Rng rng(1, Stream::init, 0);
    for (auto* v : {&x, &w, &dy})
        for (float& f : *v) f = rng.normal();
    cpu::linear_backward(s, x.data(), w.data(), dy.data(), dx.data(), dw.data(), db.data());
    cpu::linear_backward(s, x.data(), w.data(), dy.data(), nullptr, only_w.data(), only_b.data());
    CHECK(only_w == dw);
    CHECK(only_b == db);
}
