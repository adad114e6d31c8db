#include "train/data.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "core/files.h"
#include "core/hash.h"
#include "core/streams.h"
#include "routing/router.h"
#include "tasks/hotpot_text.h"
#include "tasks/npy.h"
#include "tasks/task.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {
namespace {

uint64_t hash_of(const std::vector<int32_t>& v, uint64_t seed) {
    return hash64({reinterpret_cast<const char*>(v.data()), v.size() * sizeof v[0]}, seed);
}

uint64_t hash_of(const Dataset& d, uint64_t h) {
    for (const auto* v : {&d.tokens, &d.query, &d.answer, &d.label}) h = hash_of(*v, h);
    if (d.correct.empty()) return h; // of other tasks it stays what it was
    for (const auto* v : {&d.correct.begin, &d.correct.at, &d.starts.begin, &d.starts.at}) h = hash_of(*v, h);
    return h;
}

// The last `count` lists.
PositionLists split_tail(PositionLists& from, int count) {
    if (from.empty()) return {};
    const size_t kept = from.begin.size() - 1 - count;
    const int32_t cut = from.begin[kept];
    PositionLists tail;
    for (size_t i = kept; i < from.begin.size(); ++i) tail.begin.push_back(from.begin[i] - cut);
    tail.at.assign(from.at.begin() + cut, from.at.end());
    from.begin.resize(kept + 1), from.at.resize(cut);
    return tail;
}

// The last of `data`, a fifth at most, become a test set.
Dataset hold_out(Dataset& data, const TrainOptions& o) {
    if (data.count < 2)
        fail(Exit::bad_data, "{}: {} sequence is too few to hold some out as a test set; name one with --test-data",
             o.data, data.count);
    const int count = std::min(o.test_sequences, std::max(1, data.count / 5));
    Dataset held{count, data.length, data.queries, data.vocab, {}, {}, {}, {}};
    const auto move_tail = [&](std::vector<int32_t>& from, std::vector<int32_t>& to, int width) {
        const auto cut = from.end() - int64_t{count} * width;
        to.assign(cut, from.end());
        from.erase(cut, from.end());
    };
    move_tail(data.tokens, held.tokens, data.length);
    move_tail(data.query, held.query, data.queries);
    move_tail(data.answer, held.answer, data.queries);
    if (!data.label.empty()) move_tail(data.label, held.label, data.queries);
    held.correct = split_tail(data.correct, count * data.queries);
    held.starts = split_tail(data.starts, count * data.queries);
    data.count -= count;
    return held;
}

// The options' sizes follow from the data.
TrainerData counted(TrainerData d) {
    TrainOptions& o = d.options.train;
    o.sequences = d.train.count;
    o.test_sequences = d.test.count;
    if (o.batch > o.sequences && router_kind(d.options.model.router).learns())
        fail(Exit::usage, "--batch {} is more than the {} training sequences in {}", o.batch, o.sequences, o.data);
    return d;
}

TrainerData text_data(const Options& o) {
    const TrainOptions& t = o.train;
    Workers workers(o.run.threads);
    TrainerData d{o, {}, {}};
    d.train = t.data.empty() ? generate(o.task, t.sequences, t.seed, Stream::train_data, workers)
                             : load_text(t.data, o.task, workers);
    d.test = !t.test_data.empty() ? load_text(t.test_data, o.task, workers)
             : t.data.empty()     ? generate(o.task, t.test_sequences, 0, Stream::test_data, workers)
                                  : hold_out(d.train, t);
    return counted(std::move(d));
}

} // namespace

uint64_t hash_of(const Dataset& train, const Dataset& test) { return hash_of(test, hash_of(train, 0)); }

Dataset load_described(const std::string& folder, TaskOptions& task) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(folder, ignored) && !is_zoology(folder))
        fail(Exit::bad_data,
             "{}: expected a folder of .npy files, or a Zoology file named *inputs*.npy; a HotpotQA file needs "
             "--task hotpotqa",
             folder);
    TaskOptions described;
    described.task = "other";
    Dataset data = load_dataset(folder, &described);
    if (described.task != "other" && (described.length != data.length || described.vocab != data.vocab))
        fail(Exit::bad_data, "{}/dataset.json: its options say length {} and vocab {}, its arrays have {} and {}",
             folder, described.length, described.vocab, data.length, data.vocab);
    task = described;
    return data;
}

HotpotFile load_reported(const std::string& path, Workers& workers) {
    HotpotFile file = load_hotpot(path, workers);
    for (const HotpotProblem& p : file.problems)
        complain("{}: example {}{}, at byte {}: {}\n", path, p.index, p.id.empty() ? "" : fmt::format(" (id {})", p.id),
                 p.offset, p.what);
    if (file.malformed > static_cast<int64_t>(file.problems.size()))
        complain("{}: and {} more\n", path, file.malformed - static_cast<int64_t>(file.problems.size()));
    if (file.malformed)
        complain("{}: {} malformed example{} skipped, {} read\n", path, file.malformed, file.malformed == 1 ? "" : "s",
                 file.examples.size());
    if (file.lost_facts)
        complain("{}: {} supporting fact{} no sentence\n", path, file.lost_facts,
                 file.lost_facts == 1 ? " names" : "s name");
    return file;
}

Dataset load_text(const std::string& path, const TaskOptions& task, Workers& workers) {
    return hotpot_dataset(load_reported(path, workers).examples, task, path, workers);
}

bool generates(const Options& o) { return o.train.data.empty() && o.train.test_data.empty(); }

std::optional<Dataset> final_test_set(const Options& o, Workers& workers) {
    if (!generates(o) || !task_of(o.task).law) return std::nullopt;
    const int64_t count = std::min(int64_t{final_times} * o.train.test_sequences, int64_t{1} << 30);
    return generate(o.task, static_cast<int>(count), 0, Stream::final_test, workers);
}

TrainerData make_data(const Options& o) {
    if (task_of(o.task).is_text) return text_data(o);
    if (o.train.data.empty()) {
        Workers workers(o.run.threads);
        // The test set is the same for all seeds.
        return {o, generate(o.task, o.train.sequences, o.train.seed, Stream::train_data, workers),
                generate(o.task, o.train.test_sequences, 0, Stream::test_data, workers)};
    }
    TrainerData d{o, {}, {}};
    d.train = load_described(o.train.data, d.options.task);
    if (!o.train.test_data.empty()) {
        d.test = load_dataset(o.train.test_data);
        if (d.test.length != d.train.length || d.test.queries != d.train.queries)
            fail(Exit::bad_data, "{} has length {} and {} queries, {} has {} and {}", o.train.test_data, d.test.length,
                 d.test.queries, o.train.data, d.train.length, d.train.queries);
        d.train.vocab = d.test.vocab = std::max(d.train.vocab, d.test.vocab);
    } else {
        d.test = hold_out(d.train, o.train);
    }
    d.options.task.length = d.train.length;
    d.options.task.vocab = d.train.vocab;
    return counted(std::move(d));
}

FeatureChoice feature_choice(const Options& o) {
    const ModelOptions& m = o.model;
    const auto backbone = shared_backbone(m.backbone, m.backbone_weights == "random");
    const bool gpu = o.run.device == "cuda";
    return {backbone,
            m.backbone_layer < 0 ? backbone->shape().layers : m.backbone_layer,
            m.backbone_precision == "fp16",
            o.run.backbone_cache,
            build_name() + (gpu ? fmt::format("; on {} in {}", device_name(o.run), o.run.precision) : ""),
            gpu ? Device::cuda : Device::cpu};
}

TellFeatures tell_features(bool quiet) {
    const auto progress = std::make_shared<Progress>(stderr, quiet);
    const auto start = std::chrono::steady_clock::now();
    return [=](const std::string& text, int64_t done, int64_t all) {
        if (!text.empty()) return progress->line(text);
        const std::chrono::duration<double> so_far = std::chrono::steady_clock::now() - start;
        const double rest = static_cast<double>(all - done) / static_cast<double>(done);
        progress->status(fmt::format("the backbone's features: {} of {} sequences, {} left", done, all,
                                     done ? duration(so_far.count() * rest) : "?"));
    };
}

void attach_features(Dataset& d, const Options& o, Workers& workers) {
    if (o.model.has_backbone() && !d.features)
        d.features = features_of(d, feature_choice(o), workers, tell_features(o.run.quiet));
}

std::string cut_text(const Dataset& d) {
    const int64_t examples = d.count + d.left_out, correct = static_cast<int64_t>(d.correct.at.size()) + d.correct_cut;
    if (d.left_out + d.correct_cut == 0) return "";
    return fmt::format("length {}: {} of {} examples left out, because no supporting sentence starts before the cut; "
                       "in the others {} of {} supporting sentences start after it",
                       d.length, d.left_out, examples, d.correct_cut, correct);
}

} // namespace fci
