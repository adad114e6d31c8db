#include "train/run.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "core/files.h"
#include "core/peak.h"
#include "core/signals.h"
#include "core/streams.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/provenance.h"
#include "train/run_config.h"
#include "train/run_log.h"
#include "train/tensorboard.h"

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

class Run {
public:
    Run(const Options& o, Progress& progress) : progress_(progress), trainer_(make_data(o)), has_(trainer_) {
        step_ms_.reserve(static_cast<size_t>(trainer_.steps_total()));
    }

    // Starts in a new folder, made here: all errors in options and data have been found before.
    void start(const std::string& out) {
        take_start();
        const Options& o = trainer_.options();
        std::string stem =
            o.task.task + "-" + o.model.representation + (o.model.router == "investigator" ? "" : "-" + o.model.router);
        std::replace(stem.begin(), stem.end(), ':', '-');
        if (out.empty()) {
            folder_ = unused_name("runs/out", stem);
            if (o.run.quiet && !o.run.json) fmt::print("{}\n", folder_); // nothing else says where it is
        } else
            make_output_folder(folder_ = out);
        lock(folder_);
        if (std::filesystem::exists(config_file())) // another process began a run here before this one had the lock
            fail(Exit::usage, "{}: already exists: choose another --out, or continue it with --resume", folder_);
        start_in(folder_);
    }

    // No other process may go on with the run in this folder until this one ends. A sweep has locked it already.
    void lock(const std::string& folder) {
        lock_.emplace(folder);
        if (!lock_->held())
            fail(Exit::usage, "{}: another process is working on this run; wait for it, or stop it first", folder);
    }

    // The same in a folder that is there.
    void start_in(const std::string& folder) {
        folder_ = folder;
        write_config(config_file(), trainer_, init_hash_);
        log_.emplace(folder_ + "/log.jsonl");
        log_->truncate_to(0); // of a run whose config.toml was lost
        keep_start();
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
        } else {
            expect_data_of(config_file(), trainer_);
            expect_no_checkpoint_yet(checkpoint(), log_->path(), trainer_);
            progress_.line(fmt::format("{} has no checkpoint yet: starting over", folder_));
            take_start();
        }
        log_->truncate_to(progressed_.log_bytes);
        before_ = read_run_log(log_->path());
        epoch_loss_ = before_.epoch_loss, epoch_steps_ = before_.epoch_steps;
        if (trainer_.steps_done() == 0) keep_start();
        record_changes(config_file(), trainer_);
        // It was stopped during the evaluation that ends an epoch, which is still due.
        owes_epoch_ = trainer_.steps_done() > 0 && trainer_.steps_done() % trainer_.steps_per_epoch() == 0 &&
                      log_->last_line().starts_with(step_line);
    }

    // --stop-after counts from the run's start. An epoch that is begun is ended.
    void expect_before_stop() const {
        const int stop = trainer_.options().run.stop_after;
        const int64_t made = trainer_.steps_done() / trainer_.steps_per_epoch();
        if (stop && made > stop)
            fail(Exit::usage,
                 "--stop-after {}: {} has made {} epochs already; name a later epoch, or leave the flag out", stop,
                 folder_, made);
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
    std::string checkpoint() const { return folder_ + "/checkpoint.safetensors"; }
    std::string config_file() const { return folder_ + "/config.toml"; }

    void take_start() {
        const std::string& path = trainer_.options().train.init_from;
        if (!path.empty()) init_hash_ = load_start(path, trainer_);
    }
    // A checkpoint at step 0, as that file may change later.
    void keep_start() {
        if (!trainer_.options().train.init_from.empty()) save();
    }

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
        if (o.run.tensorboard) events_.emplace(folder_, first_step_ + 1);
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
        progress_.line(
            fmt::format("stopped {}; go on with\n  {} train --resume {}",
                        steps ? fmt::format("at step {}: a checkpoint is written", steps) : "before the first step",
                        program_name(), folder_));
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
        if (events_) events_->flush();
        progressed_.log_bytes = log_->size();
        save_checkpoint(checkpoint(), trainer_, progressed_);
    }

    void announce(int64_t end) {
        const Options& o = trainer_.options();
        progress_.line(fmt::format("{}  {}  router {}  {} parameters", o.task.task, o.model.representation,
                                   o.model.router, trainer_.parameter_count()));
        if (o.model.has_backbone())
            progress_.line(fmt::format("on the frozen {}, {} wide, {} weights", o.model.backbone, o.model.feature_width,
                                       o.model.backbone_weights));
        const int64_t steps = trainer_.steps_per_epoch(), left_out = o.train.sequences % o.train.batch;
        progress_.line(fmt::format("{} sequences of {} tokens, in batches of {}; {} epoch{} of {} step{}",
                                   o.train.sequences, o.task.length, o.train.batch, o.train.all_epochs(),
                                   o.train.all_epochs() == 1 ? "" : "s", steps, steps == 1 ? "" : "s"));
        if (o.train.added_epochs)
            progress_.line(fmt::format("after epoch {} the rate is {:.3g}, OneCycle's first; its last is too small",
                                       o.train.epochs, OneCycle{o.train.learning_rate, 0}.at(0).rate));
        if (left_out) progress_.line(fmt::format("each epoch leaves out {} of them, too few for a batch", left_out));
        for (const auto& [name, data] : {std::pair("training", &trainer_.train_set()), {"test", &trainer_.test_set()}})
            if (const std::string text = cut_text(*data); !text.empty())
                progress_.line(fmt::format("{} set, {}", name, text));
        progress_.line(fmt::format("on {}; Ctrl-C writes a checkpoint",
                                   o.run.device == "cuda"
                                       ? device_name(o.run)
                                       : fmt::format("{} thread{}", o.run.threads, o.run.threads == 1 ? "" : "s")));
        progress_.line(fmt::format("run folder {}", folder_));
        if (end < trainer_.steps_total())
            progress_.line(
                fmt::format("stops after epoch {} of {}", end / trainer_.steps_per_epoch(), o.train.all_epochs()));
        heading();
    }

    double seconds() const { return before_.seconds + seconds_since(start_); }

    void heading() {
        progress_.line(fmt::format("{:12}{:>10}{}   time left", "test set", "train loss",
                                   metrics_heading(trainer_.options(), has_)));
        progress_.line(fmt::format("{:22}{}", "chance", metrics_row(*trainer_.chance(), has_)));
    }

    std::string eta(int64_t end) const {
        const int64_t done = trainer_.steps_done() - first_step_;
        return done ? duration(seconds_since(start_) / static_cast<double>(done) *
                               static_cast<double>(end - trainer_.steps_done()))
                    : "?";
    }

    std::string status(const Step& s, int64_t end) {
        const Options& o = trainer_.options();
        const int64_t per_epoch = trainer_.steps_per_epoch();
        const double rate = 1e3 * o.train.batch / step_ms_.back(); // sequences a second
        if (!peak_share_)                                          // of a GPU no peak is measured
            peak_share_ = o.run.device == "cpu" ? 1e9 * sequence_gflop(o) / measured_peak(trainer_.workers()) : 0;
        return status_line({fmt::format("epoch {}/{}", s.epoch + 1, o.train.all_epochs()),
                            fmt::format("{}/{}", (s.number - 1) % per_epoch + 1, per_epoch),
                            fmt::format("loss {:.2f}", s.loss),
                            fmt::format("batch {:.1f}%", s.counts.percent(s.counts.at_k)),
                            fmt::format("{} tok/s{}", short_count(rate * o.task.length),
                                        *peak_share_ > 0 ? fmt::format(" {:.0f}%", 100 * *peak_share_ * rate) : ""),
                            eta(end)});
    }

    void log_step(const Step& s) {
        if (s.number == 1) first_loss_ = s.loss;
        epoch_loss_ += s.loss;
        ++epoch_steps_;
        log_->line(step_text(s, step_ms_.back()));
        if (events_) events_->add(s.number, scalars_of(s));
    }

    void finish_epoch(int64_t end) {
        last_ = trainer_.evaluate();
        if (events_) events_->add(trainer_.steps_done(), scalars_of("test", last_, has_));
        const Chance& chance = *trainer_.chance();
        const int64_t epoch = trainer_.steps_done() / trainer_.steps_per_epoch();
        const bool transition =
            has_.routes && !progressed_.transition_epoch && last_.percent(last_.at_k) >= transition_at(chance.at_k);
        if (transition) progressed_.transition_epoch = static_cast<int>(epoch);
        Json line = Json::object();
        line.add("type", "epoch").add("epoch", epoch).add("step", trainer_.steps_done());
        line.merge(metrics_json(last_, chance, has_)).add("transition", transition);
        if (epoch_steps_) line.add("loss", epoch_loss_ / static_cast<double>(epoch_steps_));
        log_->line(line.add("seconds", Json::number("{:.3f}", seconds())).text());
        if (epoch % 20 == 1 && epoch_steps_ && trainer_.steps_done() > first_step_ + trainer_.steps_per_epoch())
            heading(); // the first has scrolled
        const std::string loss = epoch_steps_ ? fmt::format("{:10.4f}", epoch_loss_ / static_cast<double>(epoch_steps_))
                                              : fmt::format("{:10}", "");
        const std::string row = fmt::format("epoch {:3}/{:<2}{}{}   {}", epoch, trainer_.options().train.all_epochs(),
                                            loss, metrics_row(last_, has_), eta(end));
        progress_.line(transition ? progress_.bold(row) : row);
        if (transition) progress_.line("             ^ the transition: routing passes half way from chance to 100%");
        last_loss_ = epoch_loss_ / static_cast<double>(std::max<int64_t>(epoch_steps_, 1));
        epoch_loss_ = 0;
        epoch_steps_ = 0;
    }

    void finish() {
        if (!last_.queries) last_ = trainer_.evaluate(); // resumed at its end
        progress_.status("the final test");
        final_ = trainer_.final_test();
        if (events_ && final_) events_->add(trainer_.steps_done(), scalars_of("final", *final_, has_));
        if (events_) events_->flush();
        const Options& o = trainer_.options();
        const double seconds = this->seconds();
        const int64_t epochs = trainer_.steps_done() / trainer_.steps_per_epoch();
        if (final_) {
            Json line = Json::object();
            line.add("type", "final").add("step", trainer_.steps_done()).merge(final_json(*final_, has_));
            log_->line(line.text());
            progress_.line(
                fmt::format("{:22}{}   {} queries", "final test", metrics_row(*final_, has_), final_->queries));
            for (const std::string& more : closer_look(*final_, has_)) progress_.line("  " + more);
        }
        progress_.line(
            fmt::format("done in {}{}", duration(seconds),
                        has_.routes ? transition_text(progressed_.transition_epoch, trainer_.chance()) : ""));
        if (trainer_.steps_done() < trainer_.steps_total())
            progress_.line(fmt::format("stopped after epoch {} of {}, as asked; go on with\n  {} train --resume {}",
                                       epochs, o.train.all_epochs(), program_name(), folder_));
        progress_.clear();
        // Of a few steps the losses tell more of their batches than of learning.
        const double batches = trainer_.steps_done() < 100 ? 1.1 : 1;
        if (first_loss_ && last_loss_ > batches * *first_loss_)
            complain("fci: the loss ends at {:.4g}, above the {:.4g} of the first step: this training diverged; try a "
                     "smaller --learning-rate\n",
                     last_loss_, *first_loss_);
        if (has_.routes)
            progress_.line(
                fmt::format("look at what it chose:\n  {} show --checkpoint {}", program_name(), checkpoint()));
        if (!o.run.json) return;
        Json j = metrics_json(last_, trainer_.chance(), has_);
        if (final_) j.add("final", final_json(*final_, has_));
        j.add("transition_epoch",
              progressed_.transition_epoch ? Json::number("{}", progressed_.transition_epoch) : Json::raw("null"))
            .add("epochs", epochs);
        j.add("steps", trainer_.steps_done()).add("seconds", Json::number("{:.3f}", seconds));
        j.add("ms_per_step_median", Json::number("{:.3f}", median(step_ms_)));
        print_json(j, trainer_, folder_);
    }

    Progress& progress_;
    Trainer trainer_;
    std::optional<uint64_t> init_hash_;
    std::string folder_;
    std::optional<FolderLock> lock_;
    std::optional<LogFile> log_;
    Applicable has_;
    Progressed progressed_;
    Counts last_;
    std::optional<Counts> final_;
    std::optional<EventFile> events_;
    RunSoFar before_;                  // this process went on with it
    std::optional<double> peak_share_; // of the processor's peak, at a sequence a second
    double epoch_loss_ = 0;            // of the epoch
    double last_loss_ = 0;             // of the last whole epoch
    std::optional<double> first_loss_; // of the first step, where this process made it
    int64_t epoch_steps_ = 0;
    bool owes_epoch_ = false; // its evaluation
    std::vector<float> step_ms_;
    int64_t first_step_ = 0;
    std::chrono::steady_clock::time_point start_;
};

} // namespace

Exit train(const Options& asked, const Given& given) {
    const SignalGuard guard; // before data are made, which may take long
    if (!asked.run.resume.empty()) {
        const std::string folder = folder_of_run(asked.run.resume);
        if (!asked.run.out.empty())
            fail(Exit::usage, "--out and --resume: a resumed run stays in its folder; leave --out out");
        Options o = resumed_options(folder, asked, given);
        resolve(o);
        Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
        Run run(o, progress);
        run.lock(folder);
        run.restore(folder);
        run.expect_before_stop();
        return run.loop();
    }
    const Options o = options_to_train(asked, given);
    Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
    Run run(o, progress);
    expect_as_many_as_given(asked, given, run.trainer().options());
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

} // namespace fci
