// 200 steps on a GPU against the CPU's. Rounding makes two trainings diverge over time on any hardware. The expected
// distance is measured with trainings on the CPU whose parameters are all moved by one ulp, up or down at random,
// before every step. The GPU's training starts from the same bits but adds in another order in every step. It may be
// four times as far from the CPU's as the farthest of four such trainings. Where training amplifies nothing, all
// distances are within the losses' own rounding, and the GPU's agrees to five digits. (On the emulator, whose products
// are the CPU's: a few in 1e-6.)
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "core/rng.h"
#include "core/workers.h"
#include "tests/catch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

// FCI_CURVE_STEPS. On the emulator, which runs one thread at a time, the test only checks that training works.
int64_t steps_wanted() {
    const char* fewer = std::getenv("FCI_CURVE_STEPS");
    return fewer ? std::atoll(fewer) : 200;
}

std::vector<double> curve(const std::string& representation, const std::string& device, uint64_t moved = 0,
                          const std::string& precision = "fp32") {
    Options o;
    o.task.task = "mqar", o.task.length = 64;
    o.model.representation = representation;
    o.train.sequences = 1024, o.train.test_sequences = 8, o.train.learning_rate = 1e-3;
    o.run.device = device, o.run.threads = 1, o.run.precision = precision;
    resolve(o);
    Trainer trainer(make_data(o));
    Rng rng(moved, Stream::pattern, 0);
    std::vector<double> loss;
    while (std::ssize(loss) < steps_wanted()) {
        if (moved)
            for (float& p : trainer.edit().parameters) p = std::nextafter(p, rng.below(2) ? INFINITY : -INFINITY);
        for (const Step& s : trainer.advance(moved ? trainer.steps_done() + 1 : steps_wanted())) loss.push_back(s.loss);
    }
    return loss;
}

double distance(const std::vector<double>& x, const std::vector<double>& y) { // root mean square
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return std::sqrt(sum / static_cast<double>(x.size()));
}

} // namespace

// Hidden: minutes on the emulator. tools/gpu_check.sh runs it.
TEST_CASE("on the GPU losses part from the CPU's as those of CPU runs moved by an ulp a step", "[.][gpu-curves]") {
    std::vector<std::string> representations = {"raw",
                                                "content-only",
                                                "transformer:1",
                                                "causal-transformer:1",
                                                "sparse-transformer:1",
                                                "linear-attention:1",
                                                "rank1-attention:1",
                                                "perceiver:16",
                                                "fourier:1",
                                                "global-mean",
                                                "budgeted-attention:0.5",
                                                "flow:2",
                                                "bidir-flow:1"};
    if (const char* only = std::getenv("FCI_CURVE_OF")) representations = {only};
    constexpr int moves = 4, runs = 1 + moves; // per representation on the CPU
    std::vector<std::vector<double>> cpu(representations.size() * runs);
    std::atomic<size_t> next = 0;
    const auto work = [&] {
        for (size_t i; (i = next++) < cpu.size();) cpu[i] = curve(representations[i / runs], "cpu", i % runs);
    };
    std::vector<std::thread> others(Workers::available());
    for (std::thread& t : others) t = std::thread(work);
    std::vector<std::vector<double>> gpu; // at the same time, on this thread: the emulator supports only one
    for (const std::string& representation : representations) gpu.push_back(curve(representation, "cuda"));
    // On tensor cores too, where they have float32's accuracy. The emulator takes most of a minute a step for it.
    std::vector<std::pair<size_t, std::string>> further;
    std::vector<std::vector<double>> by_further;
    for (size_t r = 0; r < representations.size(); ++r)
        for (const char* precision : {"fp16x3", "3xtf32"}) {
            const bool has =
                representations[r].find("transformer:1") != std::string::npos || representations[r] == "bidir-flow:1";
            if (!has || (find_gpu().emulated && steps_wanted() > 20)) continue;
            further.emplace_back(r, precision), by_further.push_back(curve(representations[r], "cuda", 0, precision));
        }
    cuda::set_precision(Precision::fp32);
    for (std::thread& t : others) t.join();
    fmt::print("{:<24}{:>14}{:>14}{:>12}\n", "distance from the CPU", "an ulp a step", "GPU", "last loss");
    const auto compare = [&](size_t r, const std::string& precision, const std::vector<double>& on_gpu) {
        const std::vector<double>& still = cpu[r * runs];
        double apart = 0;
        for (int moved = 1; moved <= moves; ++moved) apart = std::max(apart, distance(still, cpu[r * runs + moved]));
        const double by_gpu = distance(still, on_gpu);
        const std::string name = representations[r] + precision;
        fmt::print("{:<24}{:>14.3g}{:>14.3g}{:>12.4f}\n", name, apart, by_gpu, still.back());
        INFO(name << ": GPU " << by_gpu << ", CPU by an ulp a step " << apart);
        CHECK(by_gpu <= std::max(4 * apart, 1e-5 * still.back()));
    };
    for (size_t r = 0; r < representations.size(); ++r) compare(r, "", gpu[r]);
    for (size_t i = 0; i < further.size(); ++i) compare(further[i].first, " " + further[i].second, by_further[i]);
}
