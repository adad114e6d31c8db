// Results: one JSON object a line, one line a run, in FOLDER/SCALE.jsonl. Lines are only ever added, so any number of
// processes may add to one file, and files of several machines may be put together with cat; of two lines of one run
// the later counts.
//   {"version":1,"hash":"...","scale":"paper","seed":1,
//    "metrics":{"routing_at_k","routing_at_1","accuracy","queries","transition_epoch"},   percent; null: has none
//    "chance":{"routing_at_k","routing_at_1","accuracy"},
//    "final":{"routing_at_k","routing_at_1","accuracy","queries","routing_neighbours","routing_strict",
//             "routing_ties"},
//    "analysis":{NAME: number, ...},
//    "curve":[[epoch,at_k,at_1,accuracy],...], "seconds", "provenance":{...,"data_hash","options":{...}}}
// final: of the final test, which older results do not have. neighbours: precision with each chosen position's right
// neighbour counted. strict, ties: the share of queries whose answer is chosen in whatever order equal scores are
// taken, and of those where this order decides. null: has none, unknown. A line with
// "on":{"name","data_hash","examples","bytes","generated"} is not a run's own result but what its model, or an index,
// does on a file of the user's; it counts beside it. Of one file there is one for each run.
// A line with "stopped_after":15 is of a run that was stopped after that epoch, on purpose, and of version -1 for 1: it
// stands for no row. find(), of_seeds() and all() know whole runs only, and a whole run's result takes its place.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/options.h"

namespace fci {

// To be raised when the same options give other numbers than before, for a reason other than rounding: a corrected
// bug, another default. Lines of another version are left out, and said to be.
constexpr int results_version = 1;

struct Metrics {
    std::optional<double> at_k, at_1, accuracy;
};

struct FinalTest {
    Metrics metrics;
    std::optional<double> neighbours, strict, ties;
    int64_t queries = 0;
};

// A HotpotQA file.
struct MeasuredOn {
    std::string name, hash; // without its folders; of the text in it
    int64_t examples = 0, bytes = 0;
    bool generated = false;
};

struct Result {
    std::string hash, scale;
    int64_t seed = 1;
    Metrics metrics, chance;
    int64_t queries = 0;
    std::optional<FinalTest> final;
    int transition_epoch = 0; // 0: none
    std::map<std::string, double> analysis;
    std::vector<std::array<double, 4>> curve;
    double seconds = 0;
    std::string provenance = "{}"; // as JSON
    Options options;               // out of it
    std::optional<MeasuredOn> on;  // none: the run's own test set
    int stopped_after = 0;         // epochs; 0: a whole run
};

bool made_on_gpu(const Result&);
std::string to_json(const Result&);  // one line; Exit::non_finite for a NaN or Inf among its numbers
Json curve_json(const Result&);      // [[1,15.4,4.4,0.8],...]
Json transition_json(const Result&); // the epoch, or null
// Exit::bad_data, beginning with `where`, for a line that is not a result. Nothing: it is of another version, which
// `version` gets. A result's hash is always made of its options; `renamed`: the line says another.
std::optional<Result> from_json(const std::string& line, const std::string& where, int64_t* version = nullptr,
                                bool* renamed = nullptr);

class Results {
public:
    Results() = default;
    Results(Results&&) = default; // by_family_ points into by_hash_, whose nodes move along
    Results& operator=(Results&&) = default;
    // FOLDER/SCALE.jsonl; none is an empty one. `notes` gets a sentence on what was left out.
    Results(const std::string& folder, const std::string& scale, std::vector<std::string>& notes);

    // null: not there. on: of the file with this hash
    const Result* find(const std::string& hash, const std::string& on = "") const;
    // Of these options with the seeds 1 to `seeds` (0: any), by seed.
    std::vector<const Result*> of_seeds(const Options&, int64_t seeds, const std::string& on = "") const;
    // Of runs that were stopped, and of which there is no whole one: the one that went furthest. null: none.
    const Result* find_stopped(const std::string& hash) const;
    std::vector<const Result*> stopped(const Options&, int64_t seeds) const; // as of_seeds
    std::vector<MeasuredOn> files(const Options&) const; // on which these options were measured, any seed
    void take_indices(Results&&);                        // adds of the other only what indices did on files
    const std::map<std::string, Result>& all() const { return by_hash_; }

private:
    std::map<std::string, Result> by_hash_;                             // hash, and the file's
    std::map<std::string, Result> stopped_;                             // hash
    std::map<std::string, std::map<int64_t, const Result*>> by_family_; // family_hash, and the file's; seed
};

std::string results_file(const std::string& folder, const std::string& scale);
inline constexpr const char* default_results = "runs/out/results"; // folder
// For what only shows results. Exit::usage where a folder other than the default is not there: a mistyped one would
// look like one without results.
void expect_results(const std::string& folder);

// Exit::internal, before any work, where append_result could not write.
void require_writable(const std::string& folder, const std::string& scale);

// Adds a line under a lock, and is back when it is on the disk. A torn last line, of a process that was killed, goes;
// one that lacks only its end is ended.
void append_result(const std::string& folder, const Result&);

} // namespace fci
