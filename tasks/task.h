// A task is one entry beside its code, and one line in tasks/dataset.cpp; options, messages, chance, controls, pictures
// and files use the entry. A null or empty field means that the task does not have it.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "tasks/dataset.h"

namespace fci {

// Where the answer may be: the query's key is in row rows[i], each row equally likely, and the answer at one of
// answers[i] (ascending), each equally likely.
struct AnswerLaw {
    std::vector<int> rows;
    std::vector<std::vector<int>> answers;
};

struct Task {
    const char* name;
    const char* about;                         // for the help text
    std::array<std::string_view, 12> own = {}; // keys of its options, besides task, length and vocab
    int length = 0;                            // its default
    int (*vocab)(const TaskOptions&) = nullptr;
    bool is_text = false; // stored as a file of examples; several positions are correct and there is no answer token

    void (*require)(const TaskOptions&) = nullptr; // Exit::usage if no example can be made, saying what would fit
    Dataset (*generate)(const TaskOptions&, int count, uint64_t seed, Stream, Workers&,
                        std::vector<Annotation>*) = nullptr;
    // (key, what it belongs to): the task's own options that have no effect, given the others.
    std::vector<std::pair<std::string, std::string>> (*idle)(const TaskOptions&) = nullptr;
    void (*simplify)(TaskOptions&) = nullptr; // options without effect get their defaults, even if resolve() takes them

    // The law of generated data, if it has a closed form. law_accuracy: percent correct for a random value from those
    // in the context; accuracy: the same on a test set of which only the options are known.
    std::optional<AnswerLaw> (*law)(const TaskOptions&) = nullptr; // nullopt: no closed form for these options
    double (*law_accuracy)(const TaskOptions&) = nullptr;
    double (*accuracy)(const TaskOptions&, const Dataset& test) = nullptr;
    // For the controls (study/controls.h): the probability that filler is taken for the key (nullopt: the answer cannot
    // be told apart), and whether a token may be the answer's key.
    std::optional<double> (*filler_like_the_key)(const TaskOptions&) = nullptr;
    bool (*may_be_the_answer)(const TaskOptions&, int key, int token) = nullptr; // null: the same token
    double (*paper_chance)(const TaskOptions&, int picks) = nullptr;             // percent, as in the paper
    std::string (*title)(const TaskOptions&) = nullptr;                          // of a picture
};

const std::vector<const Task*>& tasks();
std::vector<std::string> task_names();
// The task that the options name. "other", a --data folder that does not name its task, is a task with empty fields.
// Exit::usage, with the nearest name, for anything else.
const Task& task_of(const TaskOptions&);

// The Dataset of task.example(), one sequence at a time.
template <class T>
Dataset generate_examples(const T& task, const TaskOptions& o, int queries, int count, uint64_t seed, Stream stream,
                          Workers& workers, std::vector<Annotation>* annotations) {
    Dataset data;
    data.count = count, data.length = o.length, data.queries = queries, data.vocab = o.vocab;
    data.tokens.resize(size_t(count) * data.length);
    for (auto* column : {&data.query, &data.answer, &data.label}) column->resize(size_t(count) * data.queries);
    workers.run(count, [&](int i, int) {
        Rng rng(seed, stream, static_cast<uint64_t>(i));
        const size_t row = size_t(i) * data.queries;
        task.example(rng, {&data.tokens[size_t(i) * data.length], &data.query[row], &data.answer[row], &data.label[row],
                           annotations ? &(*annotations)[i] : nullptr});
    });
    return data;
}

} // namespace fci
