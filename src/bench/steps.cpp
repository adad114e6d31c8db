// Steps: bounds on the cost of one, its analytic work, and its measurement in a separate process.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "bench/measure.h"
#include "train/losses.h"
#include "train/progress.h"
#include "train/provenance.h"
#include "train/trainer.h"

namespace fci {
namespace {

// Bounds on a step's cost, DER, batch 32, L 512. gflop: the step may take as long as this work takes at 60% of the
// processor's peak.
//   transformer:1  19.3 linear layers: 3 x 2 x 12 d^2 per token; 15.0 attention: 7 products (2 forward, 5 backward,
//                  scores computed again) of 2 L^2 d; 0.1 council, router and head; 0.4 for work other than products
//   bidir-flow:1   21.7 products: 3 x 2 x (2 d + 40 + 8 + d) inner per token in each of two directions; 23.3 for the
//                  scan's 2 x 67 M states forward and backward, convolution, norms and gates, none of which can run at
//                  the rate of products
//   raw            no work per token except embedding and scores: an absolute time
struct Bound {
    const char* representation;
    double gflop, ms; // one of the two is 0
};
constexpr Bound bounds[] = {{"transformer:1", 34.8, 0}, {"bidir-flow:1", 45, 0}, {"raw", 0, 25}};
constexpr double budget_share = 0.6, budget_mb = 500;

double cpu_seconds() { // over all threads
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

StepNumbers time_steps(const Options& options, int steps, const std::string& name, std::FILE* out) {
    Progress progress(out);
    Team team(options.run.threads);
    Rates rates(team);
    Trainer trainer(make_data(options));
    const int groups = std::min(CpuStepper::most_groups, options.train.batch);
    const double share = (groups + options.run.threads - 1) / options.run.threads / static_cast<double>(groups);
    std::vector<double> peak{rates.peak()}, ms, cpu_ms;
    const auto step = [&] {
        const double begin = now_seconds();
        trainer.step();
        return 1e3 * (now_seconds() - begin);
    };
    for (int i = 0; i < 2; ++i) step(); // touches memory, wakes processors
    if (!steps) steps = static_cast<int>(std::clamp(3500 / step(), 7.0, 1000.0));
    ms.reserve(steps), cpu_ms.reserve(steps);
    for (int i = 0; i < steps; ++i) {
        if (i == steps / 2) peak.push_back(rates.peak());
        const double begin = cpu_seconds();
        ms.push_back(step());
        cpu_ms.push_back(1e3 * share * (cpu_seconds() - begin));
        if (progress.due()) progress.status(fmt::format("{}: step {} of {}, {:.1f} ms", name, i + 1, steps, ms.back()));
    }
    peak.push_back(rates.peak());
    return {steps,
            spread(ms),
            spread(cpu_ms),
            spread(peak),
            trainer.options().train.batch * sequence_gflop(trainer.options()),
            static_cast<double>(trainer.parameter_count()),
            peak_rss_mb()};
}

} // namespace

std::string in_child(const std::function<std::string()>& f) {
    int ends[2];
    if (pipe(ends) != 0) fail(Exit::internal, "bench: cannot make a pipe: {}", std::strerror(errno));
    std::fflush(nullptr); // or the child would print it again
    const pid_t child = fork();
    if (child < 0) fail(Exit::internal, "bench: cannot start a process: {}", std::strerror(errno));
    if (child == 0) {
        close(ends[0]);
        std::string message; // a tag, then the measurement or the error message
        try {
            message = f();
            message.insert(message.begin(), '+');
        } catch (const std::exception& e) {
            message = e.what();
            message.insert(message.begin(), '-');
        }
        std::fflush(nullptr);
        for (size_t at = 0; at < message.size();) {
            const ssize_t n = write(ends[1], message.data() + at, message.size() - at);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            at += n;
        }
        _exit(0); // without destroying the parent's objects
    }
    close(ends[1]);
    std::string message;
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);)
        if (n > 0) message.append(buffer, n);
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(status))
        fail(Exit::internal, "stopped by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (message.empty() || message[0] != '+')
        fail(Exit::internal, "{}", message.empty() ? "no result" : message.substr(1));
    return message.substr(1);
}

std::vector<std::pair<std::string, std::string>> wanted_steps(const BenchOptions& b,
                                                              std::span<const char* const> of_der) {
    std::vector<std::pair<std::string, std::string>> wanted;
    for (const char* task : {"der", "mqar", "hotpotqa"}) {
        if (!b.task.empty() && b.task != task) continue;
        if (!b.representation.empty())
            wanted.emplace_back(task, b.representation);
        else if (std::string(task) != "der")
            wanted.emplace_back(task, "transformer:1");
        else
            for (const char* representation : of_der) wanted.emplace_back(task, representation);
    }
    return wanted;
}

StepRow measure_step(const std::string& task, const std::string& representation, int threads, int steps,
                     std::FILE* out) {
    StepRow row;
    row.task = task, row.representation = representation;
    Options o;
    o.task.task = task;
    o.model.representation = representation;
    o.train.sequences = 8 * o.train.batch, o.train.test_sequences = 8;
    o.train.epochs = 1 << 20; // more steps than the time allows
    o.run.threads = threads, o.run.device = "cpu";
    resolve(o);
    try {
        row.n = measured_in_child<StepNumbers>([&] {
                    return std::vector<StepNumbers>{time_steps(o, steps, task + " " + representation, out)};
                }).at(0);
    } catch (const Error& e) {
        row.error = e.what();
        return row;
    }
    for (const Bound& bound : bounds)
        if (task == "der" && representation == bound.representation)
            row.bound_ms = bound.ms > 0 ? bound.ms : 1e3 * bound.gflop / (budget_share * row.n.peak.median);
    return row;
}

// busy: the time is over the bound but the processor time is not, so something else used the processors.
std::string StepRow::verdict() const {
    if (n.mb >= budget_mb) return "over (MB)";
    if (bound_ms == 0) return "";
    return n.ms.median <= bound_ms ? "ok" : n.cpu_ms.median <= bound_ms ? "busy" : "over";
}

std::string explain_bounds() {
    return fmt::format(
        "bound: {} and {} in the time of {} and {} GFLOP at {:.0f}% of the peak, {} in {} ms; under {} MB.\n"
        "busy: over the bound, but not in processor time: other programs ran here; measure again.",
        bounds[0].representation, bounds[1].representation, bounds[0].gflop, bounds[1].gflop, 100 * budget_share,
        bounds[2].representation, bounds[2].ms, budget_mb);
}

} // namespace fci
