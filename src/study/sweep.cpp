#include "study/sweep.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "core/files.h"
#include "core/signals.h"
#include "core/streams.h"
#include "core/workers.h"
#include "study/estimate.h"
#include "study/execute.h"
#include "study/layout.h"
#include "study/results.h"
#include "train/progress.h"

namespace fci {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

int64_t whole_number(const std::string& text, const std::string& name) {
    int64_t x = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
    if (error != std::errc() || end != text.data() + text.size())
        fail(Exit::usage, "{} '{}': expected an integer", name, text);
    return x;
}

std::optional<int64_t> variable(const char* name) {
    const char* value = std::getenv(name);
    return value && *value ? std::optional(whole_number(value, name)) : std::nullopt;
}

std::vector<PlannedRun> part(const std::vector<PlannedRun>& runs, const Shard& shard) {
    const auto total = static_cast<int64_t>(runs.size());
    if (shard.count == 0 && shard.index >= total)
        fail(Exit::usage, "job {}: with one job per run and {} runs, jobs are 0 to {}", shard.index, total, total - 1);
    std::vector<PlannedRun> mine;
    for (int64_t i = 0; i < total; ++i)
        if (shard.count == 0 ? i == shard.index : i % shard.count == shard.index) mine.push_back(runs[i]);
    return mine;
}

// Known results of runs: our own, and the recorded ones if those count.
struct Known {
    Results own, recorded;

    const Result* done(const PlannedRun& r) const {
        if (r.stop_after)
            for (const Results* results : {&own, &recorded})
                if (const Result* found = results->find_stopped(r.hash); found && found->stopped_after >= r.stop_after)
                    return found;
        for (const Results* results : {&own, &recorded})
            if (const Result* found = results->find(r.hash); found && (!r.again || found->final)) return found;
        return nullptr;
    }
};

Known read_known(const SweepOptions& o, Progress& progress, std::set<std::string>& said) {
    std::vector<std::string> notes;
    Known known{Results(o.results, o.scale, notes), {}};
    if (!o.recorded.empty()) known.recorded = Results(o.recorded, o.scale, notes);
    for (const std::string& note : notes)
        if (said.insert(note).second) progress.line("note: " + note);
    return known;
}

Estimates estimates_by(const Known& known, const RunOptions& how) {
    Estimates estimates(known.recorded, how);
    for (const auto& [hash, r] : known.own.all()) estimates.add(r);
    return estimates;
}

std::string summary(const Result& r) {
    std::string s = r.stopped_after ? fmt::format("stopped after epoch {}: ", r.stopped_after) : "";
    Metrics m = r.final ? r.final->metrics : r.metrics; // as tables show them
    if (!m.accuracy) m.accuracy = r.metrics.accuracy;
    if (m.at_k) s += fmt::format("routing {:5.1f}% (chance {:.1f})  ", *m.at_k, r.chance.at_k.value_or(0));
    if (m.accuracy) s += fmt::format("accuracy {:5.1f}% ({:.1f})  ", *m.accuracy, r.chance.accuracy.value_or(0));
    return s + duration(r.seconds);
}

double expected(const PlannedRun& r, const Estimates& estimates) {
    const double epochs = static_cast<double>(r.options.train.all_epochs());
    return estimates.seconds(r.options) * (r.stop_after ? r.stop_after / epochs : 1);
}

// Expected seconds of these runs, as far as known.
double expected(const std::vector<const PlannedRun*>& runs, const Estimates& estimates) {
    double sum = 0;
    for (const PlannedRun* r : runs) sum += expected(*r, estimates);
    return sum;
}

} // namespace

std::string run_folder(const PlannedRun& r, const SweepOptions& o) {
    return fmt::format("{}/{}-v{}-{}", o.folder, o.scale, results_version, r.hash);
}

Shard shard_from(const std::string& flag) {
    if (!flag.empty()) {
        const size_t slash = flag.find('/');
        if (slash == std::string::npos) fail(Exit::usage, "--shard {}: expected i/N, e.g. 1/4", flag);
        const int64_t i = whole_number(flag.substr(0, slash), "--shard"),
                      n = whole_number(flag.substr(slash + 1), "--shard");
        if (n < 1 || i < 1 || i > n) fail(Exit::usage, "--shard {}: i must be from 1 to N, in i/N", flag);
        return {i - 1, n};
    }
    const auto in_range = [](const char* name, int64_t id, int64_t index, std::optional<int64_t> count) {
        if (index < 0 || (count && index >= *count))
            fail(Exit::usage, "{} {}: out of range{}", name, id,
                 count ? fmt::format(", there are {} jobs", *count) : "");
        return Shard{index, count.value_or(0)};
    };
    if (const auto id = variable("SLURM_ARRAY_TASK_ID")) {
        const int64_t low = variable("SLURM_ARRAY_TASK_MIN").value_or(0),
                      step = std::max<int64_t>(1, variable("SLURM_ARRAY_TASK_STEP").value_or(1));
        return in_range("SLURM_ARRAY_TASK_ID", *id, *id < low ? -1 : (*id - low) / step,
                        variable("SLURM_ARRAY_TASK_COUNT"));
    }
    if (const auto index = variable("JOB_COMPLETION_INDEX"))
        return in_range("JOB_COMPLETION_INDEX", *index, *index, variable("JOB_COMPLETIONS"));
    return {};
}

namespace {

class Sweep {
public:
    Sweep(const std::vector<PlannedRun>& runs, const SweepOptions& o)
        : options_(o), progress_(stdout, o.quiet), known_(read_known(o, progress_, said_)),
          estimates_(estimates_by(known_, o.how)), total_(runs.size()) {
        for (const PlannedRun& r : runs)
            if (!known_.done(r)) left_.push_back(&r);
        done_ = total_ - left_.size();
        if (o.shard.count == 0)
            progress_.line(
                fmt::format("job {}: only run {} of {} (the number of jobs is not set, so each job has one run)",
                            o.shard.index, o.shard.index + 1, o.shard.of));
        if (done_) progress_.line(fmt::format("{} of {} runs are done already", done_, total_));
    }

    Exit all() {
        if (!left_.empty()) require_writable(options_.results, options_.scale);
        std::vector<std::exception_ptr> errors(options_.jobs);
        std::vector<std::thread> others;
        const auto job = [&](int j) {
            try {
                work();
            } catch (...) {
                errors[j] = std::current_exception();
                halted_ = true;
            }
        };
        try {
            for (int j = 1; j < options_.jobs; ++j) others.emplace_back(job, j);
            job(0);
        } catch (const std::system_error& e) {
            errors[0] = std::make_exception_ptr(
                Error(Exit::internal, fmt::format("--jobs {}: a thread cannot be started: {}; choose fewer jobs",
                                                  options_.jobs, e.code().message())));
            halted_ = true;
        } catch (...) { // out of memory
            errors[0] = std::current_exception();
            halted_ = true;
        }
        for (std::thread& t : others) t.join();
        for (const std::exception_ptr& e : errors)
            if (e) std::rethrow_exception(e);
        if (halted_) return stopped();
        if (failed_) progress_.line(fmt::format("{} of {} runs failed", failed_, total_));
        return worst_;
    }

private:
    // One job: does run after run, until no run is left that no other job or process is working on.
    void work() {
        std::unique_lock lock(mutex_); // guards all members; released during a run
        while (!left_.empty()) {
            bool moved = false;
            for (size_t i = 0; i < left_.size();) {
                if (halted_ || stop_asked()) {
                    halted_ = true;
                    return;
                }
                const PlannedRun& r = *left_[i];
                const FolderLock folder(run_folder(r, options_));
                if (!folder.held()) { // another process is working on it
                    ++i;
                    continue;
                }
                moved = true;
                left_.erase(left_.begin() + static_cast<int64_t>(i));
                const std::optional<std::string> text = one(r, lock);
                if (!text) {
                    halted_ = true;
                    return;
                }
                const std::string eta = left_.empty() ? "" : "  ETA " + duration(expected(left_, estimates_));
                const int width = progress_.terminal() ? terminal_width(stdout) : 0;
                progress_.line(
                    wrapped(fmt::format("{:>3}/{}  {}  {}{}", done_ + failed_, total_, r.label, *text, eta), width));
            }
            if (moved || left_.empty()) continue;
            if (said_.insert("waiting").second)
                progress_.line(
                    fmt::format("waiting for {} run{} of other processes", left_.size(), left_.size() == 1 ? "" : "s"));
            lock.unlock();
            std::this_thread::sleep_for(300ms);
            lock.lock();
        }
    }

    // The outcome in words; nothing if a signal stopped the run.
    std::optional<std::string> one(const PlannedRun& r, std::unique_lock<std::mutex>& lock) {
        known_ = read_known(options_, progress_, said_); // another process may have finished it
        if (const Result* theirs = known_.done(r)) {
            if (!theirs->stopped_after) estimates_.add(*theirs);
            ++done_;
            return "done by another process";
        }
        try {
            // Several jobs would overwrite each other's status line.
            Progress part = Progress::part_of(stdout, options_.quiet || options_.jobs > 1,
                                              fmt::format("{}/{}  {}  ", done_ + failed_ + 1, total_, r.label));
            lock.unlock();
            const std::optional<Result> result = [&] {
                const auto again = [&](void*) { lock.lock(); };
                const std::unique_ptr<Sweep, decltype(again)> relock(this, again); // also after an exception
                return execute(r, options_.scale, run_folder(r, options_), options_.how, part);
            }();
            if (!result) return std::nullopt;
            check(run_hash(result->options) == r.hash, "the result of {} has the options of another run", r.hash);
            append_result(options_.results, *result);
            if (!result->stopped_after) estimates_.add(*result);
            ++done_;
            return summary(*result);
        } catch (const Error& e) {
            if (e.exit == Exit::interrupted) return std::nullopt;
            if (total_ == 1) throw;
            if (e.exit == Exit::internal)
                fail(e.exit, "{}: {}", r.label, e.what()); // a full disk: the next run would fail too
            ++failed_;
            if (worst_ == Exit::ok) worst_ = e.exit;
            const std::string remedy = e.exit == Exit::bad_data
                                           ? fmt::format("; remove {} to start the run again", run_folder(r, options_))
                                           : "";
            complain("{}  failed: {}{}\n", r.label, e.what(), remedy);
            return "failed";
        }
    }

    Exit stopped() {
        progress_.line(fmt::format("stopped: {} of {} runs are done; the same command continues", done_, total_));
        return Exit::interrupted;
    }

    const SweepOptions& options_;
    Progress progress_;
    std::set<std::string> said_;
    Known known_;
    Estimates estimates_;
    std::vector<const PlannedRun*> left_;
    size_t total_, done_ = 0, failed_ = 0;
    Exit worst_ = Exit::ok;
    std::mutex mutex_;
    std::atomic<bool> halted_ = false; // by a signal, or by an error that stops all jobs
};

} // namespace

Exit sweep(const std::vector<PlannedRun>& all, const SweepOptions& asked) {
    const SignalGuard guard;
    SweepOptions o = asked;
    Options of_run;
    of_run.run = o.how;
    choose_device(of_run); // refuses before the results are looked through
    o.shard.of = static_cast<int64_t>(all.size());
    const std::vector<PlannedRun> mine = part(all, o.shard);
    if (o.how.threads == 0) o.how.threads = std::max(1, Workers::available() / o.jobs);
    return Sweep(mine, o).all();
}

namespace {

// The progress of some runs.
class Status {
public:
    Status(const SweepOptions& o, Progress& progress)
        : options_(o), known_(read_known(o, progress, said_)), estimates_(estimates_by(known_, o.how)) {}

    static constexpr const char* names[] = {"done", "running", "unfinished", "waiting"};
    int of(const PlannedRun& r) const {
        const std::string folder = run_folder(r, options_);
        return known_.done(r)                        ? 0
               : FolderLock::held_by_another(folder) ? 1
               : fs::exists(folder + "/config.toml") ? 2
                                                     : 3;
    }

    struct Count {
        int states[4] = {};
        double seconds = 0; // remaining
    };
    int add(Count& count, const PlannedRun& r) const {
        const int state = of(r);
        ++count.states[state];
        if (state) count.seconds += expected(r, estimates_);
        return state;
    }

    std::string total(const Count& c, size_t runs) const {
        return fmt::format("{} run{} at scale {}: {} done, {} running, {} unfinished, {} waiting; about {} left "
                           "on this machine alone (an estimate)",
                           runs, runs == 1 ? "" : "s", options_.scale, c.states[0], c.states[1], c.states[2],
                           c.states[3], duration(c.seconds));
    }

private:
    const SweepOptions& options_;
    std::set<std::string> said_;
    Known known_;
    Estimates estimates_;
};

std::string key_of(const PlannedRun& r) { return fmt::format("{} {} {}", r.hash, r.again, r.stop_after); }

} // namespace

void print_status(const std::vector<PlannedRun>& all, const SweepOptions& o) {
    const std::vector<PlannedRun> runs = part(all, o.shard);
    Progress progress(stdout);
    const Status status(o, progress);
    Status::Count count;
    Cells cells{{"state", "run", "what"}};
    for (const PlannedRun& r : runs) cells.push_back({Status::names[status.add(count, r)], r.hash, r.label});
    const int width = terminal_width(stdout, 0);
    progress.line(aligned(cells, width) + wrapped(status.total(count, runs.size()), width));
}

std::vector<PlannedRun> all_runs(const std::vector<PlannedEntry>& entries) {
    std::vector<PlannedRun> all;
    std::set<std::string> seen;
    for (const PlannedEntry& e : entries)
        for (const PlannedRun& r : e.runs)
            if (seen.insert(key_of(r)).second) all.push_back(r);
    return all;
}

void print_status(const std::vector<PlannedEntry>& entries, const SweepOptions& o) {
    const std::vector<PlannedRun> runs = part(all_runs(entries), o.shard);
    Progress progress(stdout);
    const Status status(o, progress);
    Status::Count all;
    std::set<std::string> mine;
    for (const PlannedRun& r : runs) status.add(all, r), mine.insert(key_of(r));
    Cells cells{{"", "runs", "done", "running", "unfinished", "to go", "what"}};
    for (size_t i = 0; i < entries.size(); ++i) {
        Status::Count count;
        int total = 0;
        for (const PlannedRun& r : entries[i].runs)
            if (mine.contains(key_of(r))) status.add(count, r), ++total;
        cells.push_back({std::to_string(i + 1), std::to_string(total), std::to_string(count.states[0]),
                         std::to_string(count.states[1]), std::to_string(count.states[2]),
                         count.seconds > 0 ? fmt::format("~{}", duration(count.seconds)) : "-", entries[i].what});
    }
    const int width = terminal_width(stdout, 0);
    progress.line(aligned(cells, width) + wrapped(status.total(all, runs.size()), width));
}

} // namespace fci
