#include "train/run.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "core/files.h"
#include "core/signals.h"
#include "tasks/npy.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/provenance.h"

namespace fci {

namespace {

double seconds_since(std::chrono::steady_clock::time_point from) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

float median(std::vector<float> v) {
    if (v.empty()) return 0;
    std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
    return v[v.size() / 2];
}

// Options of a run that is to be continued: those that it was started with; flags given now may only repeat them,
// or say how to carry on (threads, quiet, ...).
Options resumed_options(const std::string& folder, const Options& now, const Given& given) {
    const std::string path = folder + "/config.toml";
    if (!std::filesystem::exists(path))
        fail(Exit::usage,
             "--resume {}: there is no run in it (no config.toml); the folder of a run is wanted, e.g. runs/out/NAME",
             folder);
    Options o;
    read_toml(o, read_file(path), path, Exit::bad_data);
    Options asked = o;
    for (const auto& [key, word] : given)
        for (const Option& entry : table(asked))
            if (entry.key == key) set_from_text(entry, word);
    const std::vector<Option> before = table(o), after = table(asked);
    for (size_t i = 0; i < before.size(); ++i)
        if (before[i].group != Option::run && before[i].text() != after[i].text())
            fail(Exit::usage,
                 "{} {}: the run in {} has {}; leave the flag out to continue it, or start anew with --out",
                 after[i].flag(), after[i].text(), folder, before[i].text());
    o.run = now.run;
    return o;
}

// The rest of a run's object for --json, and out with it.
void print(Json& j, const Trainer& trainer, const std::string& folder = "") {
    j.add("peak_rss_mb", Json::number("{:.1f}", peak_rss_mb())).add("parameters", trainer.parameter_count());
    if (!folder.empty()) j.add("folder", folder);
    j.add("provenance", Json::raw(provenance_json(trainer.options(), trainer.data_hash())));
    fmt::print("{}\n", j.text());
}

class Run {
public:
    Run(const Options& o, Progress& progress) : progress_(progress), trainer_(make_data(o)), has_(trainer_) {
        step_ms_.reserve(static_cast<size_t>(trainer_.steps_total()));
    }

    // In a new folder, made here: after all that can be wrong with options and data has been found.
    void start(const std::string& out) {
        const Options& o = trainer_.options();
        std::string stem =
            o.task.task + "-" + o.model.representation + (o.model.router == "investigator" ? "" : "-" + o.model.router);
        std::replace(stem.begin(), stem.end(), ':', '-');
        if (out.empty())
            folder_ = unused_name("runs/out", stem);
        else
            make_output_folder(folder_ = out);
        lock(folder_);
        start_in(folder_);
    }

    // Until the end, nobody else goes on with the run in this folder. A sweep has locked it already.
    void lock(const std::string& folder) {
        lock_.emplace(folder);
        if (!lock_->held())
            fail(Exit::usage, "{}: another process is at this run; wait for it, or stop it first", folder);
    }

    // The same in a folder that is there.
    void start_in(const std::string& folder) {
        folder_ = folder;
        std::string text =
            "# What this run was started with; `fci train --config` reads it, `--resume` continues it.\n" +
            write_toml(trainer_.options()) + "\n[provenance]\n";
        for (const auto& [key, value] : provenance(trainer_.options().run))
            text += key + " = " + json_quote(value) + "\n";
        text += fmt::format("data_hash = \"{:016x}\"\n", trainer_.data_hash());
        write_file_atomically(folder_ + "/config.toml", text);
        log_.emplace(folder_ + "/log.jsonl");
        log_->truncate_to(0); // of a run whose config.toml was lost
    }

    void restore(const std::string& folder) {
        folder_ = folder;
        log_.emplace(folder_ + "/log.jsonl");
        if (std::filesystem::exists(checkpoint())) {
            std::string note;
            progressed_ = load_checkpoint(checkpoint(), trainer_, &note);
            if (!note.empty()) progress_.line("note: " + note);
            progress_.line(
                fmt::format("resumed {} at step {} of {}", folder_, trainer_.steps_done(), trainer_.steps_total()));
        } else
            progress_.line(fmt::format("{} has no checkpoint yet: starting over", folder_));
        log_->truncate_to(progressed_.log_bytes);
        // Stopped amid the evaluation that ends an epoch: it is still to be made.
        owes_epoch_ = trainer_.steps_done() > 0 && trainer_.steps_done() % trainer_.steps_per_epoch() == 0 &&
                      log_->last_line().starts_with(step_line);
    }

    // Exit::interrupted after a signal, with a checkpoint of all steps made.
    Exit loop() {
        const SignalGuard guard;
        try {
            return steps_to_end();
        } catch (const Error& e) {
            if (e.exit != Exit::interrupted || trainer_.steps_done() == 0) throw;
        }
        save(); // stopped amid an evaluation
        return stopped();
    }

    const Counts& last() const { return last_; }
    const std::optional<Counts>& final_test() const { return final_; }
    const Progressed& progressed() const { return progressed_; }
    Trainer& trainer() { return trainer_; }

private:
    static constexpr std::string_view step_line = R"({"type":"step",)";

    std::string checkpoint() const { return folder_ + "/checkpoint.safetensors"; }

    Exit steps_to_end() {
        const Options& o = trainer_.options();
        const int64_t per_epoch = trainer_.steps_per_epoch();
        const int64_t begun = (trainer_.steps_done() + per_epoch - 1) / per_epoch; // epochs: it stops at the end of one
        const int64_t end =
            o.run.stop_after ? std::min(std::max<int64_t>(o.run.stop_after, begun) * per_epoch, trainer_.steps_total())
                             : trainer_.steps_total();
        const int64_t every = o.run.checkpoint_every ? o.run.checkpoint_every : per_epoch;
        announce(end);
        first_step_ = trainer_.steps_done();
        start_ = std::chrono::steady_clock::now();
        if (owes_epoch_) finish_epoch(end);
        while (trainer_.steps_done() < end) {
            if (stop_asked()) return stopped(); // before the first step; later the step's end has seen to it
            const auto step_start = std::chrono::steady_clock::now();
            const int64_t done = trainer_.steps_done();
            const std::span<const Step> made = advance(std::min(end, (done / every + 1) * every));
            const double ms = 1e3 * seconds_since(step_start) / static_cast<double>(made.size());
            for (const Step& s : made) {
                step_ms_.push_back(static_cast<float>(ms));
                log_step(s);
            }
            const Step s = made.back();
            if (progress_.due()) progress_.status(status(s, end));
            if (s.number % per_epoch == 0) finish_epoch(end);
            const bool stop = stop_asked();
            if (s.number % every == 0 || s.number == end || stop) save();
            if (stop && s.number < end) return stopped();
        }
        finish();
        return Exit::ok;
    }

    Exit stopped() {
        const int64_t steps = trainer_.steps_done();
        progress_.line(fmt::format(
            "stopped {}; go on with\n  ./fci train --resume {}",
            steps ? fmt::format("at step {}: a checkpoint is written", steps) : "before the first step", folder_));
        return Exit::interrupted;
    }

    std::span<const Step> advance(int64_t until) {
        try {
            return trainer_.advance(until);
        } catch (const Error& e) {
            if (e.exit != Exit::non_finite) throw;
            const bool kept = std::filesystem::exists(checkpoint());
            fail(e.exit, "{}. {} has the log{}", e.what(), folder_, kept ? " and the last good checkpoint" : "");
        }
    }

    void save() {
        log_->sync();
        progressed_.log_bytes = log_->size();
        save_checkpoint(checkpoint(), trainer_, progressed_);
    }

    void announce(int64_t end) {
        const Options& o = trainer_.options();
        progress_.line(fmt::format("{}  {}  router {}  {} parameters", o.task.task, o.model.representation,
                                   o.model.router, trainer_.parameter_count()));
        progress_.line(fmt::format("{} sequences of {} tokens, in batches of {}; {} epochs of {} steps",
                                   o.train.sequences, o.task.length, o.train.batch, o.train.epochs,
                                   trainer_.steps_per_epoch()));
        for (const auto& [name, data] : {std::pair("training", &trainer_.train_set()), {"test", &trainer_.test_set()}})
            if (const std::string text = cut_text(*data); !text.empty())
                progress_.line(fmt::format("{} set, {}", name, text));
        progress_.line(fmt::format("on {}; Ctrl-C writes a checkpoint",
                                   o.run.device == "cuda"
                                       ? device_name(o.run)
                                       : fmt::format("{} thread{}", o.run.threads, o.run.threads == 1 ? "" : "s")));
        progress_.line(fmt::format("run folder {}", folder_));
        if (end < trainer_.steps_total())
            progress_.line(fmt::format("stops after epoch {} of {}", end / trainer_.steps_per_epoch(), o.train.epochs));
        heading();
    }

    void heading() {
        progress_.line(fmt::format("{:12}{:>10}{}   time left", "", "loss", metrics_heading(trainer_.options(), has_)));
        progress_.line(fmt::format("{:22}{}", "chance", metrics_row(trainer_.chance(), has_)));
    }

    std::string eta(int64_t end) const {
        const int64_t done = trainer_.steps_done() - first_step_;
        return done ? duration(seconds_since(start_) / static_cast<double>(done) *
                               static_cast<double>(end - trainer_.steps_done()))
                    : "?";
    }

    std::string status(const Step& s, int64_t end) const {
        const int64_t per_epoch = trainer_.steps_per_epoch();
        return fmt::format("epoch {:3}/{}  step {:3}/{}  loss {:.2f}  routing {:5.1f}%  {:.0f} ms a step  {} left",
                           s.epoch + 1, trainer_.options().train.epochs, (s.number - 1) % per_epoch + 1, per_epoch,
                           s.loss, s.counts.percent(s.counts.at_k), step_ms_.back(), eta(end));
    }

    void log_step(const Step& s) {
        epoch_loss_ += s.loss;
        ++epoch_steps_;
        Json line = Json::object();
        line.add("type", "step").add("step", s.number).add("epoch", s.epoch + 1).add("loss", s.loss);
        line.add("answer_loss", s.answer_loss).add("routing_loss", s.routing_loss).add("grad_norm", s.grad_norm);
        line.add("learning_rate", s.learning_rate).add("ms", Json::number("{:.3f}", step_ms_.back()));
        log_->line(line.text());
    }

    void finish_epoch(int64_t end) {
        last_ = trainer_.evaluate();
        const Chance& chance = trainer_.chance();
        const int64_t epoch = trainer_.steps_done() / trainer_.steps_per_epoch();
        const bool transition =
            has_.routes && !progressed_.transition_epoch && last_.percent(last_.at_k) >= (chance.at_k + 100) / 2;
        if (transition) progressed_.transition_epoch = static_cast<int>(epoch);
        Json line = Json::object();
        line.add("type", "epoch").add("epoch", epoch).add("step", trainer_.steps_done());
        line.merge(metrics_json(last_, chance, has_)).add("transition", transition);
        log_->line(line.add("seconds", Json::number("{:.3f}", seconds_since(start_))).text());
        if (epoch % 20 == 1 && epoch_steps_ && trainer_.steps_done() > first_step_ + trainer_.steps_per_epoch())
            heading(); // the first has scrolled
        const std::string loss = epoch_steps_ ? fmt::format("{:10.4f}", epoch_loss_ / static_cast<double>(epoch_steps_))
                                              : fmt::format("{:10}", "");
        const std::string row = fmt::format("epoch {:3}/{:<2}{}{}   {}", epoch, trainer_.options().train.epochs, loss,
                                            metrics_row(last_, has_), eta(end));
        progress_.line(transition ? progress_.bold(row) : row);
        if (transition) progress_.line("             ^ the transition: routing passes half way from chance to 100%");
        epoch_loss_ = 0;
        epoch_steps_ = 0;
    }

    void finish() {
        if (!last_.queries) last_ = trainer_.evaluate(); // resumed at its end
        progress_.status("the final test");
        final_ = trainer_.final_test();
        const Options& o = trainer_.options();
        const double seconds = seconds_since(start_);
        const int64_t epochs = trainer_.steps_done() / trainer_.steps_per_epoch();
        if (final_) {
            Json line = Json::object();
            line.add("type", "final").add("step", trainer_.steps_done()).merge(final_json(*final_, has_));
            log_->line(line.text());
            progress_.line(
                fmt::format("{:22}{}   {} queries", "final test", metrics_row(*final_, has_), final_->queries));
            for (const std::string& more : closer_look(*final_, has_)) progress_.line("  " + more);
        }
        progress_.line(fmt::format("done in {}{}", duration(seconds),
                                   !has_.routes ? ""
                                   : progressed_.transition_epoch
                                       ? fmt::format("; the transition was in epoch {}", progressed_.transition_epoch)
                                       : "; no transition: routing stayed below half way to 100%"));
        if (trainer_.steps_done() < trainer_.steps_total())
            progress_.line(fmt::format("stopped after epoch {} of {}, as asked; go on with\n  ./fci train --resume {}",
                                       epochs, o.train.epochs, folder_));
        progress_.line(fmt::format("look at what it chose:\n  ./fci show --checkpoint {}", checkpoint()));
        if (!o.run.json) return;
        Json j = metrics_json(last_, trainer_.chance(), has_);
        if (final_) j.add("final", final_json(*final_, has_));
        j.add("transition_epoch",
              progressed_.transition_epoch ? Json::number("{}", progressed_.transition_epoch) : Json::raw("null"))
            .add("epochs", epochs);
        j.add("steps", trainer_.steps_done()).add("seconds", Json::number("{:.3f}", seconds));
        j.add("ms_per_step_median", Json::number("{:.3f}", median(step_ms_)));
        print(j, trainer_, folder_);
    }

    Progress& progress_;
    Trainer trainer_;
    std::string folder_;
    std::optional<FolderLock> lock_;
    std::optional<LogFile> log_;
    Applicable has_;
    Progressed progressed_;
    Counts last_;
    std::optional<Counts> final_;
    double epoch_loss_ = 0; // of the epoch, or of its part since this process resumed it
    int64_t epoch_steps_ = 0;
    bool owes_epoch_ = false; // its evaluation
    std::vector<float> step_ms_;
    int64_t first_step_ = 0;
    std::chrono::steady_clock::time_point start_;
};

} // namespace

std::string provenance_json(const Options& options, uint64_t data_hash) {
    Json j = Json::object(), recorded = Json::object();
    for (const auto& [key, value] : provenance(options.run)) j.add(key, value);
    Options o = options;
    for (const Option& entry : table(o))
        if (entry.group != Option::run) recorded.add(entry.key, Json::raw(entry.text())); // as TOML, so as JSON
    j.add("seed", options.train.seed).add("data_hash", fmt::format("{:016x}", data_hash)).add("options", recorded);
    return j.text();
}

Options options_to_train(const Options& asked, const Given& given) {
    Options o = asked;
    if (!o.train.data.empty() && !task_of(o.task).is_text) // a file of text can be cut at any length
        for (const Option& entry : table(o))
            for (const auto& [key, word] : given)
                if (key == entry.key && entry.group == Option::task)
                    fail(Exit::usage, "{} {} and --data: the data are what they are; leave the flag out", entry.flag(),
                         word);
    resolve(o);
    return o;
}

Exit train(const Options& asked, const Given& given) {
    const SignalGuard guard; // before data are made, which may take long
    if (!asked.run.resume.empty()) {
        if (!asked.run.out.empty())
            fail(Exit::usage, "--out and --resume: a resumed run stays in its folder; leave --out out");
        Options o = resumed_options(asked.run.resume, asked, given);
        resolve(o);
        Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
        Run run(o, progress);
        run.lock(asked.run.resume);
        run.restore(asked.run.resume);
        return run.loop();
    }
    const Options o = options_to_train(asked, given);
    Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
    Run run(o, progress);
    run.start(o.run.out);
    return run.loop();
}

Exit carry_out(const Options& asked, const std::string& folder, Progress& progress, const AtEnd& at_end) {
    Options o = asked;
    resolve(o);
    Run run(o, progress);
    if (std::filesystem::exists(folder + "/config.toml"))
        run.restore(folder);
    else
        run.start_in(folder);
    const Exit exit = run.loop();
    if (exit == Exit::ok) at_end(run.trainer(), run.last(), run.final_test(), run.progressed().transition_epoch);
    return exit;
}

Exit evaluate(const std::string& checkpoint, const std::string& data, const RunOptions& how) {
    const Options o = checkpoint_options(checkpoint, how);
    Progress progress(how.json ? stderr : stdout, how.quiet);
    Trainer trainer(make_data(o));
    std::string note;
    load_checkpoint(checkpoint, trainer, &note);
    if (!data.empty()) {
        TaskOptions task = o.task;
        Dataset other = task_of(task).is_text ? load_text(data, task, trainer.workers()) : load_described(data, task);
        trainer.set_test_set(std::move(other), task, data);
    }
    const auto start = std::chrono::steady_clock::now();
    const Counts c = trainer.evaluate();
    const Applicable has(trainer);
    progress.line(fmt::format("{}  {}  router {}  step {}  {} test sequences{}", o.task.task, o.model.representation,
                              o.model.router, trainer.steps_done(), trainer.test_set().count,
                              data.empty() ? "" : " of " + data));
    if (const std::string text = cut_text(trainer.test_set()); !text.empty()) progress.line(text);
    progress.line("        " + metrics_heading(trainer.options(), has));
    progress.line("chance  " + metrics_row(trainer.chance(), has));
    progress.line("test    " + metrics_row(c, has));
    if (!how.json) return Exit::ok;
    Json j = metrics_json(c, trainer.chance(), has);
    j.merge(cut_json(trainer.test_set())).add("epochs", trainer.steps_done() / trainer.steps_per_epoch());
    j.add("steps", trainer.steps_done()).add("seconds", Json::number("{:.3f}", seconds_since(start)));
    print(j, trainer);
    return Exit::ok;
}

} // namespace fci
