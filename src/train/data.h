// The data of a run: generated, read from a folder of .npy files, or made of a HotpotQA file (tasks/hotpot_text.h).
#pragma once
#include <optional>

#include "pretrained/features.h"
#include "tasks/hotpotqa.h"
#include "train/options.h"

namespace fci {

struct TrainerData {
    Options options;
    Dataset train, test;
    // For a model that is only measured and whose training set is missing: `train` is then a stand-in of its shape.
    struct Absent {
        std::string why;
        uint64_t hash; // of the run's data
    };
    std::optional<Absent> absent = {};
};
// Generates the data, or reads --data, whose description then replaces the task's options. hotpotqa: either set is
// read from its file where one is named, else generated; a file without --test-data is split.
TrainerData make_data(const Options& resolved);
FeatureChoice feature_choice(const Options& resolved); // of the model's backbone
TellFeatures tell_features(bool quiet);                // on standard error, with the time that is left
// Where the model has a backbone: its features of the sequences (pretrained/features.h), unless they are there.
void attach_features(Dataset&, const Options& resolved, Workers&);
// The final test's: final_times as many sequences as the test set, 10,000 by default, of a stream of their own and the
// same for all seeds. Of tasks with a law where fci generates them, else nothing: read data have no more, and no number
// of the paper's stands beside hotpotqa's.
constexpr int final_times = 10;
std::optional<Dataset> final_test_set(const Options& resolved, Workers&);
bool generates(const Options&);                              // both sets, by the law that the task's options state
uint64_t hash_of(const Dataset& train, const Dataset& test); // the data_hash of every record
// A folder's sequences, and its task: task "other" where dataset.json does not say. Exit::bad_data if the two disagree.
Dataset load_described(const std::string& folder, TaskOptions& task);

// A HotpotQA file; examples that cannot be used are reported on standard error.
HotpotFile load_reported(const std::string& path, Workers&);
Dataset load_text(const std::string& path, const TaskOptions& resolved, Workers&); // as sequences

// "left out ..." of a dataset that a cut has shortened, for people; empty where nothing is missing.
std::string cut_text(const Dataset&);

} // namespace fci
