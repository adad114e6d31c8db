#include "tasks/dataset.h"

#include <type_traits>

#include "core/check.h"
#include "core/nearest.h"
#include "tasks/distant_evidence.h"
#include "tasks/hotpot_text.h"
#include "tasks/mqar.h"

namespace fci {

namespace {

constexpr int longest = 1 << 20, largest_vocab = 1 << 20;

// An option that would do nothing is refused, so that nobody believes that it did.
void refuse_idle_options(const TaskOptions& options) {
    const auto text = [](const TaskOptions& o, const std::string& name) {
        std::string value;
        each_task_option(o, [&](const char* n, const auto& x) {
            if (n == name) value = fmt::format("{}", x);
        });
        return value;
    };
    for (const auto& [name, owner] : idle_options(options))
        if (const std::string value = text(options, name); value != text({}, name))
            fail(Exit::usage, "--{} {} belongs to {}, and would do nothing here: leave it out", name, value, owner);
}

template <class Task>
void fill(const Task& task, Dataset& data, uint64_t seed, Stream stream, Workers& workers,
          std::vector<Annotation>* annotations) {
    workers.run(data.count, [&](int i, int) {
        Rng rng(seed, stream, static_cast<uint64_t>(i));
        const size_t row = size_t(i) * data.queries;
        task.example(rng, {&data.tokens[size_t(i) * data.length], &data.query[row], &data.answer[row], &data.label[row],
                           annotations ? &(*annotations)[i] : nullptr});
    });
}

} // namespace

std::vector<std::pair<std::string, std::string>> idle_options(const TaskOptions& o) {
    const bool der = o.task == "der", mqar = o.task == "mqar";
    std::vector<std::pair<std::string, std::string>> idle;
    const auto add = [&](const char* owner, const std::vector<std::string>& names) {
        for (const std::string& name : names) idle.emplace_back(name, owner);
    };
    if (!mqar) add("--task mqar", {"queries", "pairs", "random-non-queries"});
    if (!der)
        add("--task der", {"variant", "distractor-key", "answer-side", "query-at", "filler-repeats-key",
                           "n-distractors", "min-distance", "near-window"});
    if (!der && !mqar) add("--task der and mqar", {"query-row"});
    if (mqar && o.queries != "many") add("--queries many", {"random-non-queries"});
    return idle;
}

TaskOptions resolve(TaskOptions o) {
    expect_one_of("--task", o.task, {"der", "mqar", "hotpotqa"});
    expect_one_of("--variant", o.variant, {"far", "near", "semantic"});
    expect_one_of("--distractor-key", o.distractor_key, {"same", "other"});
    expect_one_of("--answer-side", o.answer_side, {"after", "either", "before"});
    expect_one_of("--query-row", o.query_row, {"key", "marker"});
    expect_one_of("--query-at", o.query_at, {"uniform", "early", "fixed"});
    expect_one_of("--queries", o.queries, {"one", "many"});
    const bool der = o.task == "der", mqar = o.task == "mqar", many = o.queries == "many";
    refuse_idle_options(o);

    if (o.length == 0) o.length = der ? 512 : mqar ? 256 : 1024;
    if (o.vocab == 0) o.vocab = der || (mqar && !many) ? 256 : 8192;
    if (o.length < 1 || o.length > longest)
        fail(Exit::usage, "--length {}: from 1 to {}, or 0 for the task's own", o.length, longest);
    if (o.vocab < 1 || o.vocab > largest_vocab)
        fail(Exit::usage, "--vocab {}: from 1 to {}, or 0 for the task's own", o.vocab, largest_vocab);
    if (der) {
        const std::pair<const char*, int> sizes[] = {{"min-distance", o.min_distance}, {"near-window", o.near_window}};
        for (const auto& [name, value] : sizes)
            if (value < 1 || value > longest) fail(Exit::usage, "--{} {}: from 1 to {}", name, value, longest);
        DistantEvidence::require(o);
    } else if (mqar) {
        Mqar::require(o);
    } else if (o.vocab <= text_first_word)
        fail(Exit::usage, "--vocab {} leaves no token for a word: at least {}", o.vocab, text_first_word + 1);
    return o;
}

Dataset generate(const TaskOptions& options, int count, uint64_t seed, Stream stream, Workers& workers,
                 std::vector<Annotation>* annotations) {
    const TaskOptions o = resolve(options);
    check(count >= 0, "generate: {} examples", count);
    const bool many = o.task == "mqar" && o.queries == "many";
    if (annotations) annotations->assign(count, {});
    if (o.task == "hotpotqa") return generate_hotpot_text(o, count, seed, stream, workers);
    Dataset data;
    data.count = count, data.length = o.length, data.queries = many ? o.pairs : 1, data.vocab = o.vocab;
    data.tokens.resize(size_t(count) * data.length);
    for (auto* column : {&data.query, &data.answer, &data.label}) column->resize(size_t(count) * data.queries);
    if (o.task == "der")
        fill(DistantEvidence(o), data, seed, stream, workers, annotations);
    else
        fill(Mqar(o), data, seed, stream, workers, annotations);
    return data;
}

} // namespace fci
