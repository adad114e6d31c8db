// All tasks, one per line. A task's entry is beside its code, as task_kinds::NAME.
#define FCI_TASKS(TASK)                                                                                                \
    TASK(der)                                                                                                          \
    TASK(mqar)                                                                                                         \
    TASK(hotpotqa)

#include <algorithm>

#include "core/nearest.h"
#include "tasks/task.h"

namespace fci {

#define FCI_TASK(name) extern const Task name;
#define FCI_ADDRESS(name) &name,
namespace task_kinds {
FCI_TASKS(FCI_TASK)
static const std::vector<const Task*> all{FCI_TASKS(FCI_ADDRESS)};
} // namespace task_kinds

const std::vector<const Task*>& tasks() { return task_kinds::all; }

std::vector<std::string> task_names() {
    std::vector<std::string> names;
    for (const Task* t : tasks()) names.emplace_back(t->name);
    return names;
}

const Task& task_of(const TaskOptions& o) {
    static const Task other{.name = "other", .about = ""};
    return o.task == other.name ? other : find_kind("--task", o.task, tasks());
}

std::vector<Option> option_table(TaskOptions& o) {
    std::vector<std::string> names = task_names(), about, lengths;
    for (const Task* t : tasks())
        about.emplace_back(t->about), lengths.push_back(fmt::format("{} {}", t->name, t->length));
    names.emplace_back("other");
    OptionTable t{Option::task};
    t.word("task", &o.task, names, "");
    t.all.back().help = fmt::format("{}", fmt::join(about, "; "));
    t.number("length", &o.length, 0, largest_size, "");
    t.all.back().help = fmt::format("sequence length L; 0: the task's default ({})", fmt::join(lengths, ", "));
    t.word("variant", &o.variant, {"far", "near", "semantic"}, "der: where the answer is, and how it matches");
    t.word("distractor_key", &o.distractor_key, {"same", "other"},
           "der: the distractors carry the query's key, or another");
    t.word("answer_side", &o.answer_side, {"after", "either", "before"},
           "der: the side of the query on which the answer is");
    t.word("query_row", &o.query_row, {"key", "marker"},
           "der, mqar: the query row: the key's own row, or the row before it, which holds no key");
    t.word("query_at", &o.query_at, {"uniform", "early", "fixed"},
           "der: the key's row: any row, a row in the first eighth, or the row at a tenth of the length");
    t.any("filler_repeats_key", &o.filler_repeats_key, "der: filler may be the query's key");
    t.number("n_distractors", &o.n_distractors, 0, largest_size, "der: distractor pairs");
    t.number("min_distance", &o.min_distance, 1, largest_size,
             "der: minimum distance of the answer (near: of the distractors)");
    t.number("near_window", &o.near_window, 1, largest_size,
             "der: maximum distance of the distractors (near: of the answer)");
    t.word("queries", &o.queries, {"one", "many"}, "mqar: one (the paper) or many (Zoology)");
    t.number("pairs", &o.pairs, 1, largest_size, "mqar: key-value pairs");
    t.number("vocab", &o.vocab, 0, largest_size,
             "vocabulary size; 0: the task's default (256; mqar with many queries, and hotpotqa: 8192)");
    t.any("random_non_queries", &o.random_non_queries,
          "mqar, many queries: the other positions hold random tokens, not 0");
    return t.all;
}

std::vector<std::pair<std::string, std::string>> idle_options(const TaskOptions& o) {
    const Task& task = task_of(o);
    TaskOptions all = o;
    std::vector<std::pair<std::string, std::string>> idle;
    for (const Option& option : option_table(all)) {
        const auto has = [&](const Task& t) {
            return std::find(t.own.begin(), t.own.end(), option.key) != t.own.end();
        };
        std::vector<std::string> owners;
        for (const Task* t : tasks())
            if (has(*t)) owners.emplace_back(t->name);
        if (!owners.empty() && !has(task))
            idle.emplace_back(option.key, fmt::format("--task {}", fmt::join(owners, " and ")));
    }
    if (task.idle)
        for (const auto& more : task.idle(o)) idle.push_back(more);
    return idle;
}

namespace {

void each_idle(TaskOptions& o, auto f) {
    TaskOptions start;
    const std::vector<Option> all = option_table(o), defaults = option_table(start);
    for (const auto& [key, owner] : idle_options(o)) f(*find_option(all, key), *find_option(defaults, key), owner);
}

} // namespace

TaskOptions canonical(TaskOptions o) {
    const Task& task = task_of(o);
    if (!task.generate) return o;
    each_idle(o, [](const Option& option, const Option& start, const std::string&) { option.copy(start); });
    if (task.simplify) task.simplify(o);
    if (o.length == task.length) o.length = 0;
    if (o.vocab == task.vocab(o)) o.vocab = 0;
    return o;
}

TaskOptions resolve(TaskOptions o) {
    const Task& task = find_kind("--task", o.task, tasks());
    check_values(option_table(o));
    // An option without effect is refused, so that nobody believes that it had one.
    each_idle(o, [](const Option& option, const Option& start, const std::string& owner) {
        if (option.word() != start.word())
            fail(Exit::usage, "{} {} belongs to {}, and would do nothing here: leave it out", option.flag(),
                 option.word(), owner);
    });
    if (o.length == 0) o.length = task.length;
    if (o.vocab == 0) o.vocab = task.vocab(o);
    task.require(o);
    return o;
}

Dataset generate(const TaskOptions& options, int count, uint64_t seed, Stream stream, Workers& workers,
                 std::vector<Annotation>* annotations) {
    const TaskOptions o = resolve(options);
    check(count >= 0, "generate: {} examples", count);
    if (annotations) annotations->assign(count, {});
    return task_of(o).generate(o, count, seed, stream, workers, annotations);
}

} // namespace fci
