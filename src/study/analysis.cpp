#include "study/analysis.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "core/gemm.h"
#include "core/lapack.h"
#include "ops/rank1_scores.h"
#include "ops/routing_scores.h"
#include "study/execute.h"
#include "study/layout.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/provenance.h"
#include "train/run.h"

namespace fci {
namespace {

constexpr int pairs_per_query = 16;

void add_cosines(Trainer& trainer, std::map<std::string, double>& numbers) {
    const Dataset& d = trainer.test_set();
    struct Sums {
        double correct = 0, random = 0;
    };
    std::vector<Sums> sums(d.count);
    const auto seed = static_cast<uint64_t>(trainer.options().train.seed);
    trainer.workers().run(d.count, [&](int s, int worker) {
        const Tensor x = trainer.represent(d, s, worker);
        const auto row = [&](int i) { return std::span<const float>(x.data + int64_t{i} * x.cols(), x.cols()); };
        Rng rng(seed, Stream::analysis, s);
        for (int r = 0; r < d.queries; ++r) {
            const int64_t i = int64_t{s} * d.queries + r;
            sums[s].correct += cosine(row(d.query[i]), row(d.answer[i]));
            for (int p = 0; p < pairs_per_query && d.length > 1; ++p) {
                const int one = rng.between(0, d.length), other = rng.between(0, d.length - 1);
                sums[s].random += cosine(row(one), row(other + (other >= one)));
            }
        }
    });
    Sums all;
    for (const Sums& s : sums) all.correct += s.correct, all.random += s.random;
    const double n = static_cast<double>(d.count) * d.queries;
    numbers["cosine_qa"] = all.correct / n;
    numbers["cosine_random"] = all.random / (n * pairs_per_query);
    numbers["cosine_gap"] = numbers["cosine_qa"] - numbers["cosine_random"];
}

// softmax of each row, in double
std::vector<double> row_softmax(const std::vector<float>& scores, int n) {
    std::vector<double> p(scores.begin(), scores.end());
    for (auto row = p.begin(); row != p.end(); row += n) {
        const double top = *std::max_element(row, row + n);
        double sum = 0;
        for (auto x = row; x != row + n; ++x) sum += * x = std::exp(*x - top);
        for (auto x = row; x != row + n; ++x) *x /= sum;
    }
    return p;
}

// `score` computes (L,L) from x (L,d).
template <class F>
double mean_rank(Trainer& trainer, int sequences, F score) {
    const Dataset& d = trainer.test_set();
    std::vector<double> ranks(std::min(sequences, d.count));
    trainer.workers().run(static_cast<int>(ranks.size()), [&](int s, int worker) {
        std::vector<float> scores(static_cast<size_t>(d.length) * d.length);
        score(trainer.represent(d, s, worker), scores.data());
        ranks[s] = effective_rank(singular_values(row_softmax(scores, d.length), d.length, d.length));
    });
    return std::accumulate(ranks.begin(), ranks.end(), 0.0) / static_cast<double>(ranks.size());
}

void add_investigator(Trainer& trainer, int sequences, const Counts& as_it_is, std::map<std::string, double>& numbers) {
    const Options& o = trainer.options();
    const int d = o.model.d_model;
    const Tensor wq = trainer.parameter("router.wq.weight"), wk = trainer.parameter("router.wk.weight");
    numbers["rank"] = mean_rank(trainer, sequences, [&](Tensor x, float* scores) {
        const RoutingShape shape{1, x.rows(), x.rows(), d, o.model.heads}; // every row is a query
        std::vector<float> saved(2 * shape.vectors());
        cpu::routing_scores_forward(shape, x.data, x.data, wq.data, wk.data, scores, saved.data());
    });

    const std::vector<double> sigma = routing_spectrum(trainer);
    numbers["wqk_rank"] = effective_rank(sigma);
    numbers["energy90_dims"] = energy_dims(sigma, 0.9);

    numbers["routing_at_k"] = as_it_is.percent(as_it_is.at_k);
    numbers["routing_at_1"] = as_it_is.percent(as_it_is.at_1);
    const std::vector<float> kept = trainer.parameters();
    Rng rng(static_cast<uint64_t>(o.train.seed), Stream::analysis, uint64_t{1} << 32); // lower steps draw the pairs
    std::vector<float>& now = trainer.edit().parameters;
    for (const ParameterInfo& p : trainer.infos())
        if (p.name == "router.wq.weight" || p.name == "router.wk.weight")
            for (int64_t i = 0; i < p.shape.size(); ++i) now[p.offset + i] = rng.uniform(-p.init.value, p.init.value);
    const Counts random = trainer.evaluate();
    numbers["random_projection"] = random.percent(random.at_k);
    numbers["random_projection_at_1"] = random.percent(random.at_1);
    trainer.edit().parameters = kept;
}

void add_rank1(Trainer& trainer, int sequences, std::map<std::string, double>& numbers) {
    const Tensor v = trainer.parameter("router.v.weight");
    std::vector<int32_t> every(trainer.test_set().length);
    std::iota(every.begin(), every.end(), 0);
    numbers["rank"] = mean_rank(trainer, sequences, [&](Tensor x, float* scores) {
        std::vector<float> f(x.rows());
        cpu::rank1_scores_forward({1, x.rows(), x.rows(), x.cols()}, x.data, every.data(), v.data, scores, f.data());
    });
}

const struct {
    const char *name, *meaning;
} lines[] = {
    {"cosine_qa", "mean cosine of query and answer, as the router sees them"},
    {"cosine_random", "mean cosine of random pairs of positions of a sequence"},
    {"cosine_gap", "difference of the two; above 0: query and answer are closer than a random pair"},
    {"rank", "effective rank of the softmaxed L x L scores; 1: all rows look at the same places"},
    {"wqk_rank", "effective rank of Wq^T Wk, at most d_model"},
    {"energy90_dims", "singular directions of Wq^T Wk that hold 90% of its energy"},
    {"routing_at_k", "routing precision on the test set, percent"},
    {"routing_at_1", "the same for the first choice"},
    {"random_projection", "routing precision with random Wq and Wk, percent"},
    {"random_projection_at_1", "the same for the first choice"},
};

} // namespace

double effective_rank(std::span<const double> sigma) {
    const double sum = std::accumulate(sigma.begin(), sigma.end(), 0.0);
    if (!(sum > 0)) return 0;
    double entropy = 0;
    for (double s : sigma)
        if (s > 0) entropy -= s / sum * std::log(s / sum);
    return std::exp(entropy);
}

int energy_dims(std::span<const double> sigma, double share) {
    double all = 0, held = 0;
    for (double s : sigma) all += s * s;
    int n = 0;
    while (n < static_cast<int>(sigma.size()) && held < share * all) held += sigma[n] * sigma[n], ++n;
    return n;
}

std::vector<double> routing_spectrum(Trainer& trainer) {
    const int d = trainer.options().model.d_model;
    const Tensor wq = trainer.parameter("router.wq.weight"), wk = trainer.parameter("router.wk.weight");
    std::vector<float> product(static_cast<size_t>(d) * d);
    gemm(Transpose::yes, Transpose::no, d, d, d, 1.f, wq.data, d, wk.data, d, 0.f, product.data(), d);
    return singular_values({product.begin(), product.end()}, d, d);
}

double cosine(std::span<const float> a, std::span<const float> b) {
    check(a.size() == b.size(), "cosine: vectors of different length, {} and {}", a.size(), b.size());
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        const double x = a[i], y = b[i];
        ab += x * y, aa += x * x, bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / (std::sqrt(aa) * std::sqrt(bb)) : 0;
}

std::map<std::string, double> analyse(Trainer& trainer, int sequences, const Counts* measured) {
    check(sequences >= 1, "analysis: {} sequences, expected at least 1", sequences);
    const std::string& router = trainer.options().model.router;
    std::map<std::string, double> numbers;
    trainer.parameters(); // copies from the GPU: many threads call represent() below
    add_cosines(trainer, numbers);
    if (router == "investigator" || router == "rank1")
        numbers["rank_sequences"] = std::min(sequences, trainer.test_set().count);
    if (router == "investigator")
        add_investigator(trainer, sequences, measured ? *measured : trainer.evaluate(), numbers);
    if (router == "rank1") add_rank1(trainer, sequences, numbers);
    return numbers;
}

const std::vector<std::string>& analysis_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> all;
        for (const auto& [name, meaning] : lines) all.emplace_back(name);
        return all;
    }();
    return names;
}

Exit analyze(const std::string& checkpoint, const std::string& data, int sequences, const RunOptions& how) {
    Progress progress(how.json ? stderr : stdout, how.quiet);
    const std::unique_ptr<Trainer> measured = trainer_to_measure(checkpoint, data, how);
    Trainer& trainer = *measured;
    const Options& o = trainer.options();
    const bool has_spectrum = o.model.router == "investigator";
    const auto spectrum = [&] { return has_spectrum ? routing_spectrum(trainer) : std::vector<double>{}; };
    const auto start = analyse(trainer, sequences);
    const std::vector<double> start_sigma = spectrum();
    load_model(checkpoint, trainer);
    const auto now = analyse(trainer, sequences);
    const std::vector<double> sigma = spectrum();
    progress.line(fmt::format("{}  {}  router {}  step {}\n{} test sequences, of which {} for rank", o.task.task,
                              o.model.representation, o.model.router, trainer.steps_done(), trainer.test_set().count,
                              std::min(sequences, trainer.test_set().count)));
    const std::optional<Chance>& chance = trainer.chance();
    if (!chance)
        progress.line(no_chance(trainer));
    else if (router_kind(o.model.router).routes())
        progress.line(
            fmt::format("chance of routing {:.1f}% at {}, {:.1f}% at 1", chance->at_k, o.model.top_k, chance->at_1));
    Cells cells{{"", "   start", " trained", ""}};
    for (const auto& [name, meaning] : lines)
        if (now.contains(name))
            cells.push_back(
                {name, fmt::format("{:8.3f}", start.at(name)), fmt::format("{:8.3f}", now.at(name)), meaning});
    std::string table = aligned(cells, terminal_width(how.json ? stderr : stdout, 0));
    table.pop_back(); // line() adds its own end
    progress.line(table);
    if (!now.contains("rank"))
        progress.line(
            "ranks, energy and random projections: only for routers that score all pairs, investigator and rank1");
    if (has_spectrum) {
        constexpr int shown = 8;
        progress.line(fmt::format("the largest {} of {} singular values of Wq^T Wk",
                                  std::min(shown, static_cast<int>(sigma.size())), sigma.size()));
        for (const auto& [when, values] : {std::pair("start", &start_sigma), std::pair("trained", &sigma)}) {
            std::string line = fmt::format("  {:<8}", when);
            for (int i = 0; i < std::min(shown, static_cast<int>(values->size())); ++i)
                line += fmt::format(" {:>8.4g}", (*values)[i]);
            progress.line(line);
        }
    }
    Result run; // its epochs
    const std::string log = (std::filesystem::path(checkpoint).parent_path() / "log.jsonl").string();
    if (std::filesystem::exists(log))
        read_log(log, run);
    else
        progress.line("no log.jsonl beside the checkpoint, so its epochs cannot be shown");
    for (const auto& [epoch, at_k, at_1, accuracy] : run.curve) {
        std::string line = fmt::format("epoch {:>3}", epoch);
        if (!std::isnan(at_k))
            line += fmt::format("  routing@{} {:5.1f}%  routing@1 {:5.1f}%", o.model.top_k, at_k, at_1);
        if (!std::isnan(accuracy)) line += fmt::format("  accuracy {:5.1f}%", accuracy);
        progress.line(line + (epoch == run.transition_epoch ? "  <- the transition" : ""));
    }
    if (!how.json) return Exit::ok;
    const auto object = [](const std::map<std::string, double>& numbers) {
        Json j = Json::object();
        for (const auto& [name, value] : numbers) j.add(name, value);
        return j;
    };
    const auto array = [](const auto& numbers) {
        Json j = Json::array();
        for (const auto x : numbers) j.push(x);
        return j;
    };
    Json j = Json::object(), blind = Json::object();
    j.add("trained", object(now)).add("start", object(start));
    j.add("wqk_singular_values", Json::object().add("start", array(start_sigma)).add("trained", array(sigma)));
    j.add("curve", curve_json(run)).add("transition_epoch", transition_json(run));
    if (chance) blind.add("routing_at_k", chance->at_k).add("routing_at_1", chance->at_1);
    j.add("chance", chance ? blind : Json::raw("null"));
    j.add("sequences", std::min(sequences, trainer.test_set().count)).add("steps", trainer.steps_done());
    j.add("provenance", Json::raw(provenance_json(trainer.options(), trainer.data_hash())));
    fmt::print("{}\n", j.text());
    return Exit::ok;
}

} // namespace fci
