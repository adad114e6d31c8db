#include "study/index_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>

#include "core/signals.h"
#include "routing/bandit.h"
#include "routing/bloom.h"
#include "routing/segment.h"
#include "train/provenance.h"

namespace fci {
namespace {

// Chance of a rule that chooses the answer's offset within its segment. Fitted, the rest of the position is taken away.
Chance chance_within(const Options& o, const Dataset& train, const Dataset& test, int width) {
    if (const auto exact = generates(o) ? law_chance_within(o.task, width) : std::nullopt) return *exact;
    const auto offsets = [&](const Dataset& d) {
        Dataset s{d.count, d.length, d.queries, d.vocab, {}, d.query, d.answer, d.label};
        for (std::vector<int32_t>* v : {&s.query, &s.answer})
            for (int32_t& position : *v) position %= width;
        return s;
    };
    TaskOptions other;
    other.task = "other";
    return fit_chance(other, offsets(train), offsets(test), 1);
}

Chance chance_of(const Options& o, const TrainerData& data, int place_length = 1) {
    const auto exact = generates(o) ? law_chance(o.task, o.model.top_k, place_length) : std::nullopt;
    return exact ? *exact : fit_chance(o.task, data.train, data.test, o.model.top_k, place_length);
}

void refuse_to_go_on_if_asked() {
    if (stop_asked()) fail(Exit::interrupted, "stopped: nothing of it is saved, it starts anew");
}

// The arms of query i of a dataset: the contexts of the tokens of its answer's segment, (width, d) or (width, 2d).
struct Arms {
    const float* embedding; // (vocab, n): the token embeddings h of the raw model
    int n, width;
    bool product;
    std::vector<double> contexts = {};

    int operator()(const Dataset& d, int64_t i) { // returns the right arm
        const int32_t* tokens = d.tokens.data() + i / d.queries * d.length;
        const int answer = d.answer[i], first = answer / width * width;
        const float* query = embedding + int64_t{tokens[d.query[i]]} * n;
        contexts.clear();
        for (int j = 0; j < width; ++j) {
            const float* h = embedding + int64_t{tokens[first + j]} * n;
            if (product)
                for (int c = 0; c < n; ++c) contexts.push_back(static_cast<double>(query[c]) * h[c]);
            else {
                contexts.insert(contexts.end(), query, query + n);
                contexts.insert(contexts.end(), h, h + n);
            }
        }
        return answer % width;
    }
};

void train_raw(Trainer& trainer, Progress* progress) {
    const Options& o = trainer.options();
    const int64_t epochs = o.run.stop_after ? o.run.stop_after : o.train.epochs;
    if (progress)
        progress->line(fmt::format("first a raw model, for its embeddings: {} epochs of {} steps", epochs,
                                   trainer.steps_per_epoch()));
    while (trainer.steps_done() < epochs * trainer.steps_per_epoch()) {
        refuse_to_go_on_if_asked();
        const Step s = trainer.step();
        if (progress && progress->due())
            progress->status(fmt::format("raw model: epoch {:3}/{}  loss {:.4f}", s.epoch + 1, epochs, s.loss));
    }
}

void run_bandit(TrainerData data, const Dataset* final, IndexOutcome& out, Progress* progress) {
    const Options& o = out.options;
    const int width = data.train.length / SegmentRouter::segments;
    out.chance = chance_within(o, data.train, data.test, width);
    data.options.model.router = "investigator";
    Trainer trainer(std::move(data));
    train_raw(trainer, progress);
    const Counts raw = trainer.evaluate();
    out.extra["raw_routing_at_k"] = raw.percent(raw.at_k);
    out.extra["raw_routing_at_1"] = raw.percent(raw.at_1);

    const bool product = o.train.bandit_context == "product";
    const BanditRule rule = o.model.router == "linucb"     ? BanditRule::lin_ucb
                            : o.model.router == "thompson" ? BanditRule::thompson
                                                           : BanditRule::oful;
    Arms arms{trainer.parameter("token.weight").data, o.model.d_model, width, product};
    const int d = o.model.d_model * (product ? 1 : 2);
    LinearBandit bandit(rule, d, static_cast<uint64_t>(o.train.seed));
    const Dataset& train = trainer.train_set();
    const auto rounds = static_cast<int64_t>(train.answer.size()), last_tenth = rounds - (rounds + 9) / 10;
    int64_t rewards = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        refuse_to_go_on_if_asked();
        const int right = arms(train, i), arm = bandit.choose(arms.contexts, width);
        bandit.learn(arms.contexts.data() + int64_t{arm} * d, arm == right);
        rewards += i >= last_tenth && arm == right;
        if (progress && progress->due())
            progress->status(fmt::format("{}: round {} of {}", o.model.router, i + 1, rounds));
    }
    out.extra["online_reward_last_tenth"] =
        100.0 * static_cast<double>(rewards) / static_cast<double>(rounds - last_tenth);
    const auto greedy = [&](const Dataset& d) {
        Counts c;
        c.queries = static_cast<int64_t>(d.answer.size());
        for (int64_t i = 0; i < c.queries; ++i) {
            const int right = arms(d, i);
            c.at_1 += bandit.greedy(arms.contexts, width) == right;
        }
        c.at_k = c.at_1;
        return c;
    };
    out.counts = greedy(trainer.test_set());
    if (final) out.final = greedy(*final);
}

// Draws for query i of the test set; the steps below 2^32 are the hashes of tokens.
Rng order_of_query(const Options& o, int64_t i) {
    return {static_cast<uint64_t>(o.train.seed), Stream::index, (uint64_t{1} << 32) + static_cast<uint64_t>(i)};
}

// The first k of a random order of `values`  [Fisher & Yates].
void shuffle_first(std::vector<int>& values, int k, Rng rng) {
    const auto n = static_cast<int>(values.size());
    for (int i = 0; i < std::min(k, n - 1); ++i) std::swap(values[i], values[rng.between(i, n)]);
    values.resize(std::min(k, n));
}

void count_choice(Counts& c, const std::vector<int>& chosen, int right) {
    ++c.queries;
    c.at_k += std::find(chosen.begin(), chosen.end(), right) != chosen.end();
    c.at_1 += !chosen.empty() && chosen[0] == right;
}

Counts count_bloom(const Dataset& test, const Options& o, std::map<std::string, double>& extra) {
    constexpr int segments = SegmentRouter::segments;
    const int width = test.length / segments, k = o.model.top_k;
    const BloomHashes hashes(static_cast<uint64_t>(o.train.seed), test.vocab);
    const int key_after = o.task.query_row == "marker" ? 1 : 0; // the row before the key asks for it
    Counts counts;
    int64_t without_key = 0, false_positives = 0, candidates = 0;
    double theory = 0;
    for (int s = 0; s < test.count; ++s) {
        const int32_t* tokens = test.tokens.data() + int64_t{s} * test.length;
        std::vector<BloomFilter> filters(segments, BloomFilter(hashes));
        std::vector<std::set<int32_t>> sets; // what the filters stand for
        for (int g = 0; g < segments; ++g) {
            sets.emplace_back(tokens + g * width, tokens + (g + 1) * width);
            for (int32_t token : sets[g]) filters[g].add(token);
        }
        for (int r = 0; r < test.queries; ++r) {
            const int64_t i = int64_t{s} * test.queries + r;
            const int32_t key = tokens[test.query[i] + key_after];
            std::vector<int> found;
            for (int g = 0; g < segments; ++g) {
                if (g == test.query[i] / width) continue;
                const bool may = filters[g].may_hold(key);
                if (may) found.push_back(g);
                if (sets[g].contains(key)) continue;
                ++without_key;
                false_positives += may;
                theory += bloom_false_positive_rate(hashes.bits(), hashes.count(), static_cast<int>(sets[g].size()));
            }
            candidates += static_cast<int64_t>(found.size());
            shuffle_first(found, k, order_of_query(o, i));
            count_choice(counts, found, test.answer[i] / width);
        }
    }
    const double of = static_cast<double>(std::max<int64_t>(1, without_key));
    extra["false_positive_rate"] = 100 * static_cast<double>(false_positives) / of;
    extra["false_positive_theory"] = 100 * theory / of;
    extra["candidates"] = static_cast<double>(candidates) / static_cast<double>(counts.queries);
    return counts;
}

Counts count_random(const Dataset& test, const Options& o) {
    Counts counts;
    std::vector<int> positions;
    for (size_t i = 0; i < test.answer.size(); ++i) {
        positions.resize(test.length);
        std::iota(positions.begin(), positions.end(), 0);
        shuffle_first(positions, o.model.top_k, order_of_query(o, static_cast<int64_t>(i)));
        count_choice(counts, positions, test.answer[i]);
    }
    return counts;
}

// The best blind rule that the training set shows, as counts.
Counts count_blind(const Dataset& train, const Dataset& test, const Options& o) {
    const Chance fitted = fit_chance(o.task, train, test, o.model.top_k);
    const auto n = static_cast<double>(test.answer.size());
    Counts counts;
    counts.queries = std::llround(n);
    counts.at_k = std::llround(fitted.at_k * n / 100), counts.at_1 = std::llround(fitted.at_1 * n / 100);
    return counts;
}

} // namespace

IndexOutcome run_index(const Options& resolved, Progress* progress) {
    const auto start = std::chrono::steady_clock::now();
    const std::string& router = resolved.model.router;
    check(router_kind(router) != RouterKind::in_model, "run_index: {} is not an index", router);
    Options o = resolved;
    o.model.representation = "raw"; // no mixing: embeddings (bandits) or the tokens themselves
    TrainerData data = make_data(o);
    IndexOutcome out;
    out.options = data.options;
    check_model(out.options.model, data.train.vocab, data.train.length);
    if (router != "random" && router != "blind" && data.train.length % SegmentRouter::segments != 0)
        fail(Exit::usage, "--length {} must be a multiple of {} for --router {}, which looks at {} segments",
             data.train.length, SegmentRouter::segments, router, SegmentRouter::segments);
    out.data_hash = hash_of(data.train, data.test);
    if (progress) {
        progress->line(fmt::format("{}  router {}  L {}  {} training and {} test sequences", out.options.task.task,
                                   router, data.train.length, data.train.count, data.test.count));
        progress->line("no gradient reaches this router: the result is printed, nothing is saved");
    }
    Workers workers(out.options.run.threads);
    const std::optional<Dataset> final = final_test_set(out.options, workers);
    if (router_kind(router) == RouterKind::bandit)
        run_bandit(std::move(data), final ? &*final : nullptr, out, progress);
    else {
        const bool bloom = router == "bloom";
        out.chance = chance_of(out.options, data, bloom ? data.test.length / SegmentRouter::segments : 1);
        std::map<std::string, double> of_final; // shown of the test set
        const auto counts = [&](const Dataset& test, std::map<std::string, double>& extra) {
            return bloom                ? count_bloom(test, out.options, extra)
                   : router == "random" ? count_random(test, out.options)
                                        : count_blind(data.train, test, out.options);
        };
        out.counts = counts(data.test, out.extra);
        if (final) out.final = counts(*final, of_final);
    }
    out.chance.accuracy = 0; // none of them answers
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
}

Exit train_index(const Options& asked, const Given& given) {
    const SignalGuard guard;
    const Options o = options_to_train(asked, given);
    const std::string& router = o.model.router;
    for (const auto& [key, word] : given)
        if (key == "representation" && word != "raw")
            fail(Exit::usage, "--representation {}: --router {} looks at raw {}; leave the flag out", word, router,
                 router_kind(router) == RouterKind::bandit ? "embeddings" : "tokens");
    if (!o.run.out.empty() || o.run.checkpoint_every)
        fail(Exit::usage, "{}: --router {} saves nothing; leave the flag out",
             o.run.out.empty() ? "--checkpoint-every" : "--out " + o.run.out, router);
    Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
    const IndexOutcome out = run_index(o, &progress);
    const Counts& c = out.counts;
    const Chance& chance = out.chance;
    const std::string at_1 = fmt::format("{:5.1f}% (chance {:.1f})", c.percent(c.at_1), chance.at_1);
    progress.line(
        fmt::format("done in {}: {}", duration(out.seconds),
                    router_kind(router) == RouterKind::bandit
                        ? fmt::format("routing@1 {} within the answer's segment", at_1)
                        : fmt::format("routing@{} {:5.1f}% (chance {:.1f})  @1 {}{}", out.options.model.top_k,
                                      c.percent(c.at_k), chance.at_k, at_1, router == "bloom" ? " by segments" : "")));
    if (const auto& f = out.final)
        progress.line(fmt::format("final test, {} queries:  routing@{} {:.1f}%  @1 {:.1f}%", f->queries,
                                  router_kind(router) == RouterKind::bandit ? 1 : out.options.model.top_k,
                                  f->percent(f->at_k), f->percent(f->at_1)));
    for (const auto& [name, value] : out.extra) progress.line(fmt::format("  {:<26}{:6.2f}", name, value));
    if (o.run.json) {
        std::string extra;
        if (const auto& f = out.final)
            extra = fmt::format("\"final\":{{\"queries\":{},\"routing_at_k\":{},\"routing_at_1\":{}}},", f->queries,
                                f->percent(f->at_k), f->percent(f->at_1));
        for (const auto& [name, value] : out.extra) extra += fmt::format("{}:{},", json_quote(name), value);
        fmt::print("{{\"routing_at_k\":{},\"routing_at_1\":{},\"chance\":{{\"routing_at_k\":{},\"routing_at_1\":{}}},{}"
                   "\"seconds\":{:.3f},\"provenance\":{}}}\n",
                   c.percent(c.at_k), c.percent(c.at_1), chance.at_k, chance.at_1, extra, out.seconds,
                   provenance_json(out.options, out.data_hash));
    }
    return Exit::ok;
}

} // namespace fci
