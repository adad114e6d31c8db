#include "train/evaluate.h"

#include <chrono>
#include <filesystem>

#include "tasks/npy.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/progress.h"

namespace fci {
namespace {

// As many sequences as are in `path`; `task` becomes what they say of themselves.
Dataset load_test_set(const std::string& path, TaskOptions& task, int threads) {
    Workers workers(threads);
    return task_of(task).is_text ? load_text(path, task, workers) : load_described(path, task);
}

// The run's own data. Exit::bad_data where they are not there, or not those that it was trained on.
TrainerData own_data(const std::string& checkpoint, const Options& o) {
    TrainerData d = make_data(o);
    expect_data(checkpoint, hash_of(d.train, d.test), o);
    return d;
}

// For a run whose training set is not there: a test set, of which a copy stands where that would.
std::unique_ptr<Trainer> without_training_set(const std::string& checkpoint, const std::string& data, const Options& o,
                                              const std::string& why) {
    TaskOptions task = o.task;
    const std::string path = data.empty() ? o.train.test_data : data;
    TrainerData d{o, load_test_set(path, task, o.run.threads), {}};
    if (d.train.length != o.task.length || d.train.vocab > o.task.vocab)
        fail(Exit::bad_data, "{}: length {} and a vocabulary of {}; the model is made for {} and {}", path,
             d.train.length, d.train.vocab, o.task.length, o.task.vocab);
    d.train.vocab = o.task.vocab;
    d.test = d.train;
    d.absent = {why, data_hash_of(checkpoint)};
    return std::make_unique<Trainer>(std::move(d));
}

} // namespace

std::unique_ptr<Trainer> trainer_to_measure(const std::string& checkpoint, const std::string& data,
                                            const RunOptions& how) {
    const Options o = checkpoint_options(checkpoint, how);
    std::unique_ptr<Trainer> trainer;
    try {
        trainer = std::make_unique<Trainer>(own_data(checkpoint, o));
    } catch (const Error& e) {
        if (e.exit != Exit::bad_data && e.exit != Exit::usage) throw;
        std::error_code ignored;
        const bool gone = !o.train.data.empty() && !std::filesystem::exists(o.train.data, ignored);
        if (data.empty() && (!gone || o.train.test_data.empty()))
            fail(e.exit, "{}; measure on other data with --data, which does not need the run's data", e.what());
        return without_training_set(checkpoint, data, o, e.what());
    }
    if (data.empty()) return trainer;
    TaskOptions task = o.task;
    Dataset test = load_test_set(data, task, o.run.threads);
    trainer->set_test_set(std::move(test), task, data);
    return trainer;
}

std::unique_ptr<Trainer> trainer_to_ask(const std::string& checkpoint, const RunOptions& how) {
    RunOptions on_cpu = how;
    on_cpu.device = "cpu", on_cpu.backbone_cache = "none", on_cpu.quiet = true; // few sequences, asked about once
    const Options o = checkpoint_options(checkpoint, on_cpu);
    if (task_of(o.task).is_text)
        fail(Exit::usage,
             "{}: its task is {}, whose examples are text: fci show --checkpoint {} --data FILE marks where it "
             "looks in them",
             checkpoint, o.task.task, checkpoint);
    Dataset nothing;
    nothing.count = 1, nothing.length = o.task.length, nothing.vocab = o.task.vocab;
    nothing.tokens.resize(o.task.length);
    for (auto* column : {&nothing.query, &nothing.answer, &nothing.label}) column->resize(1);
    auto trainer = std::make_unique<Trainer>(
        TrainerData{o, nothing, nothing, TrainerData::Absent{"no data is asked for", data_hash_of(checkpoint)}});
    load_model(checkpoint, *trainer);
    return trainer;
}

Exit evaluate(const std::string& checkpoint, const std::string& data, const RunOptions& how) {
    Progress progress(how.json ? stderr : stdout, how.quiet);
    const std::unique_ptr<Trainer> trainer = trainer_to_measure(checkpoint, data, how);
    load_model(checkpoint, *trainer);
    const Options& o = trainer->options();
    const auto start = std::chrono::steady_clock::now();
    const Counts c = trainer->evaluate();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const Applicable has(*trainer);
    progress.line(fmt::format("{}  {}  router {}  step {}  {} test sequences{}", o.task.task, o.model.representation,
                              o.model.router, trainer->steps_done(), trainer->test_set().count,
                              data.empty() ? "" : " of " + data));
    if (const std::string text = cut_text(trainer->test_set()); !text.empty()) progress.line(text);
    progress.line("        " + metrics_heading(o, has));
    if (trainer->chance())
        progress.line("chance  " + metrics_row(*trainer->chance(), has));
    else
        progress.line(no_chance(*trainer));
    progress.line("test    " + metrics_row(c, has));
    if (!how.json) return Exit::ok;
    Json j = metrics_json(c, trainer->chance(), has);
    j.merge(cut_json(trainer->test_set())).add("epochs", trainer->steps_done() / trainer->steps_per_epoch());
    j.add("steps", trainer->steps_done()).add("seconds", Json::number("{:.3f}", seconds.count()));
    print_json(j, *trainer);
    return Exit::ok;
}

} // namespace fci
