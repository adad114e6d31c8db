// The analysis of a trained model: ranks, energies and cosines against values known by hand, and the output of `fci
// analyze`.
#include <algorithm>
#include <cmath>
#include <set>

#include "core/lapack.h"
#include "study/analysis.h"
#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/checkpoint.h"

using namespace fci;

namespace {

Trainer trainer_of(const std::string& representation, const std::string& router = "investigator", int threads = 1,
                   int d_model = 16) {
    Options o;
    o.task.length = 20, o.task.pairs = 4, o.task.vocab = 16;
    o.model.representation = representation, o.model.router = router;
    o.model.d_model = d_model, o.model.heads = 2, o.model.top_k = 2;
    o.train.sequences = 24, o.train.test_sequences = 30, o.train.batch = 8, o.train.epochs = 2;
    o.run.threads = threads;
    resolve(o);
    return Trainer(make_data(o));
}

float* parameter(Trainer& t, const std::string& name) {
    for (const ParameterInfo& p : t.infos())
        if (p.name == name) return t.edit().parameters.data() + p.offset;
    FAIL("no parameter " << name);
    return nullptr;
}

std::vector<double> rank_one(const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> m;
    for (double x : a)
        for (double y : b) m.push_back(x * y);
    return m;
}

} // namespace

TEST_CASE("lapack: singular values of known matrices", "[analysis]") {
    const std::vector<double> flat = singular_values({3, 0, 0, 0, -4, 0}, 2, 3);
    REQUIRE(flat.size() == 2);
    CHECK(flat[0] == Approx(4));
    CHECK(flat[1] == Approx(3));
    const std::vector<double> tall = singular_values({1, 1, 0, 1, 0, 0}, 3, 2); // the golden ratio and its inverse
    CHECK(tall[0] == Approx((1 + std::sqrt(5)) / 2));
    CHECK(tall[1] == Approx((std::sqrt(5) - 1) / 2));
    const std::vector<double> one = singular_values(rank_one({1, 2, 2}, {3, 0, 4}), 3, 3);
    CHECK(one[0] == Approx(15));
    CHECK((std::abs(one[1]) < 1e-12 && std::abs(one[2]) < 1e-12));
    expect_error(error_of([] { singular_values({1, NAN}, 1, 2); }), Exit::non_finite, "(1,2) matrix has a NaN");
}

TEST_CASE("lapack: a factor that is updated is the factor of the sum", "[analysis]") {
    const int n = 6;
    Rng rng(1, Stream::golden);
    std::vector<double> u(n * n), a(n * n), x(n);
    for (int i = 0; i < n; ++i) u[i * n + i] = a[i * n + i] = 1;
    for (int t = 0; t < 50; ++t) {
        for (double& v : x) v = rng.normal();
        if (t % 5 == 0) x[0] = 0;
        for (int i = 0; i < n; ++i)
            for (int j = 0; j < n; ++j) a[i * n + j] += x[i] * x[j];
        cholesky_update(n, u.data(), x.data());
    }
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
            double sum = 0;
            for (int k = 0; k < n; ++k) sum += u[k * n + i] * u[k * n + j];
            CHECK(sum == Approx(a[i * n + j]).epsilon(1e-12).margin(1e-12));
            if (j < i) CHECK(u[i * n + j] == 0);
        }
}

TEST_CASE("analysis: effective rank of known matrices", "[analysis]") {
    for (const int n : {1, 2, 17, 64}) {
        std::vector<double> identity(static_cast<size_t>(n * n));
        for (int i = 0; i < n; ++i) identity[i * n + i] = -2.5;
        CHECK(effective_rank(singular_values(identity, n, n)) == Approx(n));
        const std::vector<double> ones(n, 1.0);
        CHECK(effective_rank(singular_values(rank_one(ones, ones), n, n)) == Approx(1));
    }
    CHECK(effective_rank(std::vector{3.0, 1.0}) == Approx(std::exp(0.75 * std::log(4. / 3) + 0.25 * std::log(4))));
    CHECK(effective_rank(std::vector{0.0, 0.0}) == 0);
    CHECK(effective_rank(std::vector{7.0, 0.0, 0.0}) == 1);
}

TEST_CASE("analysis: how many directions hold the energy", "[analysis]") {
    const std::vector<double> sigma = singular_values({3, 0, 0, 0, 4, 0, 0, 0, 5}, 3, 3); // squares 25, 16, 9; sum 50
    CHECK(energy_dims(sigma, 0.4) == 1);
    CHECK(energy_dims(sigma, 0.6) == 2);
    CHECK(energy_dims(sigma, 0.8) == 2);
    CHECK(energy_dims(sigma, 0.9) == 3);
    CHECK(energy_dims(std::vector(10, 1.0), 0.9) == 9);
    CHECK(energy_dims(std::vector(3, 0.0), 0.9) == 0);
}

TEST_CASE("analysis: cosines of vectors, also of those without length", "[analysis]") {
    const std::vector<float> x{3, 4}, y{-8, 6}, same{6, 8}, none{0, 0}, small{3e-30f, 4e-30f};
    CHECK(cosine(x, y) == 0);
    CHECK(cosine(x, same) == Approx(1));
    CHECK(cosine(x, std::vector<float>{-3, -4}) == Approx(-1));
    CHECK(cosine(x, none) == 0);
    CHECK(cosine(none, none) == 0);
    CHECK(cosine(x, small) == Approx(1));
}

// content-only and one-hot embeddings: the query's row equals its key's, so cos(q, a) = 1; two other positions are
// equal if their tokens are.
// their tokens do.
TEST_CASE("analysis: the cosine gap of embeddings made by hand", "[analysis]") {
    Trainer trainer = trainer_of("content-only");
    float* token = parameter(trainer, "token.weight");
    std::fill(token, token + 16 * 16, 0.f);
    for (int t = 0; t < 16; ++t) token[t * 16 + t] = 0.1f * static_cast<float>(t + 1);
    double expected = 0;
    const Dataset& d = trainer.test_set();
    for (int s = 0; s < d.count; ++s) {
        int equal = 0;
        for (int i = 0; i < d.length; ++i)
            for (int j = 0; j < d.length; ++j)
                equal += i != j && d.tokens[s * d.length + i] == d.tokens[s * d.length + j];
        expected += static_cast<double>(equal) / (d.length * (d.length - 1)) / d.count;
    }
    std::map<std::string, double> a = analyse(trainer, 2);
    CHECK(a["cosine_qa"] == Approx(1));
    CHECK(a["cosine_random"] == Approx(expected).margin(5 * std::sqrt(0.25 / (30 * 16))));
    CHECK(a["cosine_gap"] == Approx(a["cosine_qa"] - a["cosine_random"]));
    std::fill(token, token + 16 * 16, 0.f);
    for (const auto& [name, value] : analyse(trainer, 2)) {
        INFO(name);
        CHECK(std::isfinite(value));
        if (name.starts_with("cosine")) CHECK(value == 0);
    }
}

TEST_CASE("analysis: random pairs are of distinct positions", "[analysis]") {
    Trainer trainer = trainer_of("raw", "none", 1, 20); // each of the 20 positions gets its own direction
    float *token = parameter(trainer, "token.weight"), *position = parameter(trainer, "position.weight");
    std::fill(token, token + 16 * 20, 0.f);
    std::fill(position, position + 20 * 20, 0.f);
    for (int i = 0; i < 20; ++i) position[i * 20 + i] = 1;
    CHECK(analyse(trainer, 1)["cosine_random"] == 0);
    std::fill(position, position + 20 * 20, 1.f);
    CHECK(analyse(trainer, 1)["cosine_random"] == Approx(1));
}

TEST_CASE("analysis: a router whose weights are known", "[analysis]") {
    Trainer trainer = trainer_of("content-only");
    float *wq = parameter(trainer, "router.wq.weight"), *wk = parameter(trainer, "router.wk.weight");
    std::fill(wq, wq + 256, 0.f);
    std::copy(wq, wq + 256, wk);
    std::map<std::string, double> a = analyse(trainer, 3);
    CHECK(a["rank"] == Approx(1)); // equal scores: every row is 1/L
    CHECK(a["wqk_rank"] == 0);
    CHECK(a["energy90_dims"] == 0);
    // One-hot embeddings and W = 1000 I over two of the 16 dimensions: each of these tokens sees only its equals.
    for (int i = 0; i < 2; ++i) wq[i * 16 + i] = wk[i * 16 + i] = 1000;
    a = analyse(trainer, 3);
    CHECK(a["wqk_rank"] == Approx(2));
    CHECK(a["energy90_dims"] == 2);
    float* token = parameter(trainer, "token.weight");
    std::fill(token, token + 256, 0.f);
    for (int i = 0; i < 16; ++i) token[i * 16 + i] = wq[i * 16 + i] = wk[i * 16 + i] = 1000;
    a = analyse(trainer, 30);
    double distinct = 0;
    const Dataset& d = trainer.test_set();
    for (int s = 0; s < d.count; ++s) { // a block of 1/m per token: as many singular values of 1 as tokens
        const auto begin = d.tokens.begin() + s * d.length;
        distinct += static_cast<double>(std::set<int32_t>(begin, begin + d.length).size()) / d.count;
    }
    CHECK(a["rank"] == Approx(distinct));
    CHECK(a["routing_at_k"] == 100); // the key occurs twice, and the answer has the lower index
    CHECK(a["random_projection"] < 100);
}

TEST_CASE("analysis: the same numbers for any number of threads, and the model is as it was", "[analysis][threads]") {
    for (const std::string router : {"investigator", "rank1", "none"}) {
        INFO(router);
        Trainer one = trainer_of("transformer:1", router, 1), two = trainer_of("transformer:1", router, 2);
        one.step(), two.step();
        const std::vector<float> before = one.parameters();
        const auto numbers = analyse(one, 7);
        CHECK(numbers == analyse(two, 7));
        CHECK(numbers == analyse(one, 7));
        CHECK(one.parameters() == before);
        CHECK(numbers.contains("cosine_gap"));
        CHECK(numbers.contains("rank") == (router != "none"));
        CHECK(numbers.contains("energy90_dims") == (router == "investigator"));
        if (router != "none") CHECK((numbers.at("rank") >= 1 && numbers.at("rank") <= 20));
        one.step(), two.step(); // the analysis does not change later training
        CHECK(one.parameters() == two.parameters());
    }
}

TEST_CASE("analysis: fci analyze prints what it found, start values beside it", "[analysis][cli]") {
    const Scratch scratch;
    expect_ran(run(tiny_run(scratch / "run")), 0);
    const std::string checkpoint = checkpoint_in(scratch / "run");
    const Ran text = run({"analyze", checkpoint, "--sequences", "3"});
    expect_ran(text, 0, "32 test sequences, of which 3 for rank");
    for (const char* name : {"\ncosine_gap ", "\nrank ", "\nwqk_rank ", "\nenergy90_dims ", "\nrandom_projection "})
        CHECK(text.out.find(name) != std::string::npos);
    CHECK(text.out.find("singular values of Wq^T Wk\n  start ") != std::string::npos);
    CHECK(text.out.find("\nepoch   1  routing@") != std::string::npos);
    const Ran json = run({"analyze", checkpoint, "--json", "--quiet"});
    CHECK(json.out.find("\"wqk_singular_values\":{\"start\":[") != std::string::npos);
    CHECK(json.out.find("\"curve\":[[1,") != std::string::npos);
    expect_ran(json, 0, "{\"trained\":{\"cosine_gap\":");
    CHECK(json.err.empty());
    expect_refused(run({"analyze", scratch / "nowhere"}), 3, "cannot be read: No such file");
    expect_refused(run({"analyze"}), 2, "checkpoint is required");
    expect_refused(run({"analyze", checkpoint, "--sequences", "0"}), 2, "--sequences");
    std::filesystem::remove(scratch / "run/log.jsonl");
    expect_ran(run({"analyze", checkpoint, "--sequences", "1"}), 0, "no log.jsonl beside the checkpoint");
    write_file_atomically(checkpoint, read_file(checkpoint).substr(0, 5000));
    expect_refused(run({"analyze", checkpoint}), 3, checkpoint + ": ");
}
