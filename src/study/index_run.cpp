#include "study/index_run.h"

#include <algorithm>
#include <chrono>

#include "core/signals.h"
#include "routing/bandit.h"
#include "routing/index.h"
#include "train/provenance.h"

namespace fci {
namespace {

// Chance of a rule that chooses the answer's offset within its segment. A fitted chance sees positions modulo the
// width.
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
    if (stop_asked())
        fail(Exit::interrupted, "stopped: nothing of this run was saved; it starts again from the beginning");
}

// The arms of query i of a dataset: the contexts of the tokens of its answer's segment, (width, d) or (width, 2d).
struct Arms {
    const float* embedding; // (vocab, n): the token embeddings h of the raw model
    int n, width;
    bool product;
    std::vector<double> contexts = {};

    int operator()(const Dataset& d, int64_t i) { // returns the correct arm
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
        progress->line(fmt::format("first trains a raw model for its embeddings: {} epochs of {} steps", epochs,
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
    const int width = data.train.length / segment_count;
    out.chance = chance_within(o, data.train, data.test, width);
    data.options = trained_first(data.options);
    Trainer trainer(std::move(data));
    train_raw(trainer, progress);
    const Counts raw = trainer.evaluate();
    out.extra["raw_routing_at_k"] = raw.percent(raw.at_k);
    out.extra["raw_routing_at_1"] = raw.percent(raw.at_1);

    const bool product = o.train.bandit_context == "product";
    Arms arms{trainer.parameter("token.weight").data, o.model.d_model, width, product};
    const int d = o.model.d_model * (product ? 1 : 2);
    LinearBandit bandit(router_kind(o.model.router).rule.value(), d, static_cast<uint64_t>(o.train.seed));
    const Dataset& train = trainer.train_set();
    const auto rounds = static_cast<int64_t>(train.answer.size()), last_tenth = rounds - (rounds + 9) / 10;
    int64_t rewards = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        refuse_to_go_on_if_asked();
        const int correct = arms(train, i), arm = bandit.choose(arms.contexts, width);
        bandit.learn(arms.contexts.data() + int64_t{arm} * d, arm == correct);
        rewards += i >= last_tenth && arm == correct;
        if (progress && progress->due())
            progress->status(fmt::format("{}: round {} of {}", o.model.router, i + 1, rounds));
    }
    out.extra["online_reward_last_tenth"] =
        100.0 * static_cast<double>(rewards) / static_cast<double>(rounds - last_tenth);
    const auto greedy = [&](const Dataset& d) {
        Counts c;
        c.queries = static_cast<int64_t>(d.answer.size());
        for (int64_t i = 0; i < c.queries; ++i) {
            const int correct = arms(d, i);
            c.at_1 += bandit.greedy(arms.contexts, width) == correct;
        }
        c.at_k = c.at_1;
        return c;
    };
    out.counts = greedy(trainer.test_set());
    if (final) out.final = greedy(*final);
}

} // namespace

IndexOutcome run_index(const Options& resolved, Progress* progress) {
    const auto start = std::chrono::steady_clock::now();
    const std::string& router = resolved.model.router;
    const RouterKind& kind = router_kind(router);
    check(kind.choose || kind.rule, "run_index: {} is neither an index over tokens nor a bandit", router);
    Options o = resolved;
    o.model.representation = "raw"; // no mixing: uses embeddings (bandits) or the tokens themselves
    TrainerData data = make_data(o);
    IndexOutcome out;
    out.options = data.options;
    check_model(out.options.model, data.train.vocab, data.train.length);
    if ((kind.by_segment || kind.type == RouterKind::bandit) && data.train.length % segment_count != 0)
        fail(Exit::usage, "--length {} must be a multiple of {} for --router {}, which looks at {} segments",
             data.train.length, segment_count, router, segment_count);
    out.data_hash = hash_of(data.train, data.test);
    if (progress) {
        progress->line(fmt::format("{}  router {}  L {}  {} training and {} test sequences", out.options.task.task,
                                   router, data.train.length, data.train.count, data.test.count));
        progress->line("this router is not trained by gradients: the result is printed, nothing is saved");
    }
    Workers workers(out.options.run.threads);
    const std::optional<Dataset> final = final_test_set(out.options, workers);
    if (kind.type == RouterKind::bandit)
        run_bandit(std::move(data), final ? &*final : nullptr, out, progress);
    else {
        const Options& o = out.options;
        out.chance = chance_of(o, data, kind.place_length(data.test.length));
        const auto counts = [&](const Dataset& test, std::map<std::string, double>& extra) {
            const IndexHits hits = kind.choose(
                {test, o.model.top_k, o.task.query_row == "marker", static_cast<uint64_t>(o.train.seed), [&] {
                     const Chance fitted = fit_chance(o.task, data.train, test, o.model.top_k);
                     return std::array{fitted.at_k, fitted.at_1};
                 }});
            extra = hits.extra;
            Counts c;
            c.queries = hits.queries, c.at_k = hits.at_k, c.at_1 = hits.at_1;
            return c;
        };
        std::map<std::string, double> of_final; // not shown: extra is for the test set
        out.counts = counts(data.test, out.extra);
        if (final) out.final = counts(*final, of_final);
    }
    out.chance.accuracy = 0; // none of these routers answers
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
}

Exit train_index(const Options& asked, const Given& given) {
    const SignalGuard guard;
    const Options o = options_to_train(asked, given);
    const std::string& router = o.model.router;
    const bool bandit = router_kind(router).type == RouterKind::bandit, by_segment = router_kind(router).by_segment;
    for (const auto& [key, word] : given)
        if (key == "representation" && word != "raw")
            fail(Exit::usage, "--representation {}: --router {} looks at raw {}; leave the flag out", word, router,
                 bandit ? "embeddings" : "tokens");
    if (!o.run.out.empty() || o.run.checkpoint_every)
        fail(Exit::usage, "{}: --router {} saves nothing; leave the flag out",
             o.run.out.empty() ? "--checkpoint-every" : "--out " + o.run.out, router);
    Progress progress(o.run.json ? stderr : stdout, o.run.quiet);
    const IndexOutcome out = run_index(o, &progress);
    const Counts& c = out.counts;
    const Chance& chance = out.chance;
    const std::string at_1 = fmt::format("{:5.1f}% (chance {:.1f})", c.percent(c.at_1), chance.at_1);
    progress.line(
        fmt::format("done in {}:\n  {}", duration(out.seconds),
                    bandit ? fmt::format("routing@1 {} within the answer's segment", at_1)
                           : fmt::format("routing@{} {:5.1f}% (chance {:.1f})  routing@1 {}{}", out.options.model.top_k,
                                         c.percent(c.at_k), chance.at_k, at_1, by_segment ? " by segments" : "")));
    if (const auto& f = out.final)
        progress.line(fmt::format("final test, {} queries:  routing@{} {:.1f}%  routing@1 {:.1f}%", f->queries,
                                  bandit ? 1 : out.options.model.top_k, f->percent(f->at_k), f->percent(f->at_1)));
    for (const auto& [name, value] : out.extra) progress.line(fmt::format("  {:<26}{:6.2f}", name, value));
    if (!o.run.json) return Exit::ok;
    const auto of = [](double at_k, double at_1) {
        return Json::object().add("routing_at_k", at_k).add("routing_at_1", at_1);
    };
    Json j = of(c.percent(c.at_k), c.percent(c.at_1));
    j.add("chance", of(chance.at_k, chance.at_1));
    if (const auto& f = out.final)
        j.add("final", Json::object().add("queries", f->queries).merge(of(f->percent(f->at_k), f->percent(f->at_1))));
    for (const auto& [name, value] : out.extra) j.add(name, value);
    j.add("seconds", Json::number("{:.3f}", out.seconds));
    j.add("provenance", Json::raw(provenance_json(out.options, out.data_hash)));
    fmt::print("{}\n", j.text());
    return Exit::ok;
}

} // namespace fci
