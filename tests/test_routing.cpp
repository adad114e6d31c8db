// Routers that are not trained by gradients: the bandits against ridge regression and the normal law, the Bloom filter
// against sets and its formula, and both in whole runs.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/lapack.h"
#include "routing/bandit.h"
#include "routing/bloom.h"
#include "study/index_run.h"
#include "tasks/npy.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;

extern "C" void dposv_(const char* uplo, const int* n, const int* nrhs, double* a, const int* lda, double* b,
                       const int* ldb, int* info);

namespace {

constexpr BanditRule rules[] = {BanditRule::lin_ucb, BanditRule::thompson, BanditRule::oful};

std::vector<double> normals(Rng& rng, int n, double scale = 1) {
    std::vector<double> x(n);
    for (double& v : x) v = scale * rng.normal();
    return x;
}

double dot(const double* a, const double* b, int n) { return std::inner_product(a, a + n, b, 0.0); }

// A = ridge I + sum x x^T and A^-1 B (column-major, as in LAPACK; A is symmetric), directly from the definition.
struct Ridge {
    int d;
    std::vector<double> a, b;
    explicit Ridge(int dim, double ridge = 1) : d(dim), a(static_cast<size_t>(dim * dim)), b(dim) {
        for (int i = 0; i < d; ++i) a[i * d + i] = ridge;
    }
    void add(const double* x, double reward) {
        for (int i = 0; i < d; ++i) {
            b[i] += reward * x[i];
            for (int j = 0; j < d; ++j) a[i * d + j] += x[i] * x[j];
        }
    }
    std::vector<double> solve(std::vector<double> rhs) const {
        std::vector<double> factor = a;
        const int columns = static_cast<int>(rhs.size()) / d;
        int info = -1;
        dposv_("U", &d, &columns, factor.data(), &d, rhs.data(), &d, &info);
        REQUIRE(info == 0);
        return rhs;
    }
    std::vector<double> inverse() const {
        std::vector<double> identity(a.size());
        for (int i = 0; i < d; ++i) identity[i * d + i] = 1;
        return solve(identity);
    }
};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

Options tiny(const std::string& router, int threads = 1) {
    Options o;
    o.task.length = 64, o.task.pairs = 8, o.task.vocab = 32;
    o.model.router = router, o.model.d_model = 16, o.model.heads = 2, o.model.top_k = 2;
    o.train.sequences = 200, o.train.test_sequences = 100, o.train.batch = 8, o.train.epochs = 2;
    o.train.learning_rate = 1e-2;
    o.run.threads = threads;
    resolve(o);
    return o;
}

} // namespace

TEST_CASE("bandit: regret falls where the rewards are linear, and stays where nobody learns", "[routing]") {
    const int d = 8, arms = 10, rounds = 1500, part = 150;
    for (const BanditRule rule : rules) {
        INFO("rule " << static_cast<int>(rule));
        Rng rng(3, Stream::golden);
        std::vector<double> theta = normals(rng, d);
        const double length = std::sqrt(dot(theta.data(), theta.data(), d));
        for (double& t : theta) t /= length;
        LinearBandit bandit(rule, d, 5);
        double first = 0, last = 0, uniform = 0;
        for (int t = 0; t < rounds; ++t) {
            const std::vector<double> x = normals(rng, arms * d, 1 / std::sqrt(d));
            std::vector<double> reward(arms);
            for (int j = 0; j < arms; ++j) reward[j] = dot(theta.data(), &x[j * d], d);
            const double best = *std::max_element(reward.begin(), reward.end());
            const int arm = bandit.choose(x, arms);
            REQUIRE((arm >= 0 && arm < arms));
            bandit.learn(&x[arm * d], reward[arm] + 0.1 * rng.normal());
            const double regret = best - reward[arm];
            if (t < part) first += regret;
            if (t >= rounds - part) last += regret, uniform += best - reward[rng.below(arms)];
        }
        CHECK(last < 0.5 * first);
        CHECK(last < 0.1 * uniform);
        CHECK(first < 0.8 * uniform);
    }
}

TEST_CASE("bandit: the estimate is ridge regression, and the choice the definition's", "[routing]") {
    for (const auto& [d, ridge] : {std::pair(1, 1.0), {7, 0.5}, {40, 1.0}}) {
        INFO("d " << d);
        const int n = 5;
        Rng rng(7, Stream::golden, d);
        LinearBandit bandit(BanditRule::lin_ucb, d, 1, ridge, 0.7);
        Ridge direct(d, ridge);
        for (int t = 0; t < 600; ++t) {
            const double size = t % 3 ? 1 : 20; // also badly scaled
            const std::vector<double> x = normals(rng, n * d, size);
            const int arm = bandit.choose(x, n);
            if (t % 100 == 99) {
                const std::vector<double> theta = direct.solve(direct.b), inverse = direct.inverse();
                CHECK(largest_difference(bandit.estimate(), theta) < 1e-8);
                std::vector<double> bound(n), mean(n);
                for (int j = 0; j < n; ++j) {
                    double width = 0;
                    for (int i = 0; i < d; ++i) width += x[j * d + i] * dot(&inverse[i * d], &x[j * d], d);
                    mean[j] = dot(theta.data(), &x[j * d], d);
                    bound[j] = mean[j] + 0.7 * std::sqrt(width);
                }
                CHECK(arm == std::max_element(bound.begin(), bound.end()) - bound.begin());
                CHECK(bandit.greedy(x, n) == std::max_element(mean.begin(), mean.end()) - mean.begin());
            }
            const double reward = rng.normal();
            bandit.learn(&x[arm * d], reward);
            direct.add(&x[arm * d], reward);
        }
    }
}

TEST_CASE("bandit: equal arms go to the lower index", "[routing]") {
    for (const BanditRule rule : rules) {
        LinearBandit bandit(rule, 2, 1);
        CHECK(bandit.choose({1, 2, 1, 2, 1, 2}, 3) == 0);
        CHECK(bandit.greedy({1, 2, 3, 4}, 2) == 0); // theta_hat is 0 at first
    }
}

TEST_CASE("bandit: Thompson's samples have the posterior's mean and covariance", "[routing]") {
    const int d = 4, draws = 20000;
    const double v = 1.5;
    Ridge direct(d);
    std::vector<std::vector<double>> seen;
    Rng rng(11, Stream::golden);
    for (int t = 0; t < 12; ++t) seen.push_back(normals(rng, d));
    for (int t = 0; t < 12; ++t) direct.add(seen[t].data(), t % 3);
    std::vector<double> sum(d), products(static_cast<size_t>(d * d));
    for (int s = 0; s < draws; ++s) { // a new seed each time: a bandit's sample depends only on seed and round
        LinearBandit bandit(BanditRule::thompson, d, 1000 + s, 1, v);
        for (int t = 0; t < 12; ++t) bandit.learn(seen[t].data(), t % 3);
        const std::vector<double> theta = bandit.sample();
        if (s == 0) CHECK(theta == bandit.sample());
        for (int i = 0; i < d; ++i) sum[i] += theta[i];
        const std::vector<double>& mean = bandit.estimate();
        for (int i = 0; i < d; ++i)
            for (int j = 0; j < d; ++j) products[i * d + j] += (theta[i] - mean[i]) * (theta[j] - mean[j]);
    }
    const std::vector<double> mean = direct.solve(direct.b), inverse = direct.inverse();
    for (int i = 0; i < d; ++i) {
        const double variance = v * v * inverse[i * d + i];
        CHECK(std::abs(sum[i] / draws - mean[i]) < 5 * std::sqrt(variance / draws));
        for (int j = 0; j < d; ++j) { // var of a sample covariance: (S_ii S_jj + S_ij^2) / n
            const double expected = v * v * inverse[i * d + j],
                         error = std::sqrt((variance * v * v * inverse[j * d + j] + expected * expected) / draws);
            CHECK(std::abs(products[i * d + j] / draws - expected) < 5 * error);
        }
    }
}

TEST_CASE("bloom: what was added is always found", "[routing]") {
    for (const int bits : {64, 100, 256})
        for (const int hashes : {1, 3, 5}) {
            const BloomHashes h(bits, 300, bits, hashes);
            Rng rng(1, Stream::golden, bits + hashes);
            for (int round = 0; round < 200; ++round) {
                BloomFilter filter(h);
                CHECK_FALSE(filter.may_hold(static_cast<int>(rng.below(300)))); // empty
                std::vector<int> added(rng.below(60));
                for (int& token : added) filter.add(token = static_cast<int>(rng.below(300)));
                CHECK(std::all_of(added.begin(), added.end(), [&](int t) { return filter.may_hold(t); }));
            }
        }
}

TEST_CASE("bloom: the false-positive rate is the formula's", "[routing]") {
    for (const auto& [bits, hashes, n] : {std::tuple(256, 3, 30), {256, 3, 10}, {128, 2, 40}, {200, 4, 25}}) {
        INFO(bits << " bits " << hashes << " hashes " << n << " tokens");
        const int families = 600, others = 100; // hash families; a family's tokens share bits
        std::vector<double> rates;
        for (int seed = 0; seed < families; ++seed) {
            const BloomHashes h(seed, n + others, bits, hashes);
            BloomFilter filter(h);
            for (int token = 0; token < n; ++token) filter.add(token);
            int passed = 0;
            for (int token = n; token < n + others; ++token) passed += filter.may_hold(token);
            rates.push_back(static_cast<double>(passed) / others);
        }
        const double mean = std::accumulate(rates.begin(), rates.end(), 0.0) / families;
        double variance = 0;
        for (double r : rates) variance += (r - mean) * (r - mean) / (families - 1);
        const double theory = bloom_false_positive_rate(bits, hashes, n);
        // The formula treats bits as independent; for k = 3, m = 256 it is about 1% too low [Bose et al. 2008].
        CHECK(std::abs(mean - theory) < 4 * std::sqrt(variance / families) + 0.02 * theory);
    }
    CHECK(bloom_false_positive_rate(256, 3, 0) == 0);
    CHECK(bloom_false_positive_rate(1, 3, 1) == 1);
    CHECK(bloom_false_positive_rate(2, 1, 1) == 0.5);
}

TEST_CASE("index: the same bits for any number of threads, and LinUCB is OFUL", "[routing][threads]") {
    for (const std::string router : {"linucb", "thompson", "oful", "bloom", "random", "blind"}) {
        INFO(router);
        const IndexOutcome one = run_index(tiny(router, 1)), two = run_index(tiny(router, 2));
        CHECK(one.counts.queries == 100);
        CHECK((one.counts.at_k == two.counts.at_k && one.counts.at_1 == two.counts.at_1));
        CHECK((one.chance.at_k == two.chance.at_k && one.chance.at_1 == two.chance.at_1));
        CHECK(one.extra == two.extra);
        CHECK(one.data_hash == two.data_hash);
        CHECK(one.counts.correct == 0);
    }
    const IndexOutcome linucb = run_index(tiny("linucb")), oful = run_index(tiny("oful"));
    CHECK(linucb.counts.at_1 == oful.counts.at_1);
    CHECK(linucb.extra == oful.extra);
}

// The answer is the only token of its segment with the query's embedding: h_q o h_j finds it, [h_q ; h_j] cannot.
TEST_CASE("index: a bandit on products can compare tokens, on concatenations it cannot", "[routing]") {
    const Scratch scratch;
    const int length = 64, width = 4, count = 3000;
    Dataset d{count, length, 1, 9, {}, {}, {}, {}};
    Rng rng(2, Stream::golden);
    for (int s = 0; s < count; ++s) {
        std::vector<int32_t> tokens(length);
        for (int g = 0; g < length / width; ++g) { // four different tokens per segment
            std::vector<int> pool(8);
            std::iota(pool.begin(), pool.end(), 1);
            for (int j = 0; j < width; ++j) {
                std::swap(pool[j], pool[rng.between(j, 8)]);
                tokens[g * width + j] = pool[j];
            }
        }
        const int answer = rng.between(0, length - width);
        d.query.push_back(length - 1);
        d.answer.push_back(answer);
        d.label.push_back(1);
        tokens[length - 1] = tokens[answer];
        d.tokens.insert(d.tokens.end(), tokens.begin(), tokens.end());
    }
    save_dataset(scratch / "data", d, {}, 0);
    std::filesystem::remove(scratch / "data/dataset.json"); // not one of fci's tasks
    const auto percent = [&](const std::string& context) {
        Options o;
        o.model.router = "linucb", o.model.d_model = 16, o.model.heads = 2, o.model.positions = "none";
        o.train.data = scratch / "data", o.train.bandit_context = context;
        o.train.epochs = 4, o.train.learning_rate = 3e-2, o.run.threads = 2;
        resolve(o);
        const IndexOutcome out = run_index(o);
        CHECK(out.chance.at_1 == Approx(25).margin(5));
        return out.counts.percent(out.counts.at_1);
    };
    CHECK(percent("concat") < 40);
    CHECK(percent("product") > 80);
}

TEST_CASE("index: bloom, random and blind on data whose answer is known", "[routing]") {
    const IndexOutcome bloom = run_index(tiny("bloom"));
    // The key's segment is always a candidate. 16 candidates at most, few of them false.
    CHECK(bloom.extra.at("candidates") >= 1);
    CHECK(bloom.extra.at("false_positive_rate") < 1);
    CHECK(bloom.extra.at("false_positive_theory") < 1);
    CHECK(bloom.counts.at_k == 100);

    Options o = tiny("random");
    o.train.test_sequences = 20000, o.model.top_k = 4;
    const IndexOutcome random = run_index(o);
    const auto within = [&](int64_t hits, double p) { // five standard deviations
        return std::abs(static_cast<double>(hits) - 20000 * p) < 5 * std::sqrt(20000 * p * (1 - p));
    };
    CHECK(within(random.counts.at_k, 4. / 64));
    CHECK(within(random.counts.at_1, 1. / 64));
    o.model.top_k = 64;
    CHECK(run_index(o).counts.at_k == 20000); // distinct tokens: all are found

    o = tiny("blind");
    o.train.test_sequences = 20000;
    const IndexOutcome blind = run_index(o);
    CHECK(blind.chance.at_k == Approx(25)); // 2 of 8 keys
    CHECK(blind.chance.at_1 == Approx(12.5));
    CHECK(within(blind.counts.at_k, 0.25));
    CHECK(within(blind.counts.at_1, 0.125));
}

TEST_CASE("index: bloom looks for the key, whichever row asks", "[routing]") {
    Options o;
    o.task.task = "der", o.task.query_row = "marker";
    o.model.router = "bloom";
    o.train.sequences = 100, o.train.test_sequences = 300, o.run.threads = 1;
    resolve(o);
    const IndexOutcome marker = run_index(o);
    CHECK(marker.counts.percent(marker.counts.at_k) > 98); // the marker, token 0, is in one segment only
}

TEST_CASE("index: fci train runs it, prints it and saves nothing; what cannot be is refused", "[routing][cli]") {
    const Scratch scratch;
    const Words data{"--length", "64", "--pairs", "8", "--sequences", "200", "--test-sequences", "100"};
    const Ran bloom = run(Words{"train", "--router", "bloom"} + data);
    expect_ran(bloom, 0, "nothing is saved");
    CHECK(bloom.out.find("false_positive_rate") != std::string::npos);
    CHECK(bloom.out.find("accuracy") == std::string::npos);
    const Words small{"--epochs", "1", "--d-model", "16", "--heads", "2"};
    expect_ran(run(Words{"train", "--router", "linucb", "--representation", "raw"} + data + small), 0,
               "within the answer's segment");
    const Ran json = run(Words{"train", "--router", "random", "--json", "--quiet"} + data);
    expect_ran(json, 0, "\"routing_at_k\":");
    CHECK(json.out.find("\"data_hash\":") != std::string::npos);
    expect_refused(run(Words{"train", "--router", "bloom", "--out", scratch / "run"} + data), 2, "saves nothing");
    expect_refused(run(Words{"train", "--router", "oful", "--representation", "flow:1"} + data), 2,
                   "--router oful looks at raw embeddings");
    expect_refused(run({"train", "--router", "linucb", "--length", "100"}), 2,
                   "--length 100 must be a multiple of 16 for --router linucb");
}
