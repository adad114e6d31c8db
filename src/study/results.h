// Results: one JSON object per line, one line per run, in FOLDER/SCALE.jsonl. Lines are only ever added. So any number
// of processes may add to one file, and files of several machines may be joined with cat; if a run has two lines, the
// later one counts.
//   {"version":1,"hash":"...","scale":"paper","seed":1,
//    "metrics":{"routing_at_k","routing_at_1","accuracy","queries","transition_epoch"},   percent; null: no value
//    "chance":{"routing_at_k","routing_at_1","accuracy"},
//    "final":{"routing_at_k","routing_at_1","accuracy","queries","routing_neighbours","routing_strict",
//             "routing_ties"},
//    "analysis":{NAME: number, ...},
//    "curve":[[epoch,at_k,at_1,accuracy],...], "seconds", "provenance":{...,"data_hash","options":{...}}}
// final: the final test, which older results lack. neighbours: precision with each chosen position's right neighbour
// counted. strict: the share of queries whose answer is chosen in any order of equal scores; ties: the share for which
// that order decides. null: no value, unknown. A line with "on":{"name","data_hash","examples","bytes","generated"} is
// not a run's own result: it gives the numbers of the run's model, or of an index, on a file of the user's, and counts
// beside that result. Each run has one such result per file.
// A line with "stopped_after":15 belongs to a run that was stopped after that epoch on purpose. Its version is -1
// instead of 1, and it is no row's result. find(), of_seeds() and all() return whole runs only; a whole run's result
// replaces it.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/options.h"

namespace fci {

// Raise this when the same options give other numbers than before for a reason other than rounding: a corrected bug,
// another default. Lines of another version are left out, with a note.
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
    std::string name, hash; // name without folders; hash of its text
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
    Options options;               // from the provenance
    std::optional<MeasuredOn> on;  // none: the run's own test set
    int stopped_after = 0;         // epochs; 0: a whole run
};

bool made_on_gpu(const Result&);
std::string to_json(const Result&);  // one line; Exit::non_finite for a NaN or Inf among its numbers
Json curve_json(const Result&);      // [[1,15.4,4.4,0.8],...]
Json transition_json(const Result&); // the epoch, or null
// Exit::bad_data, with a message that begins with `where`, for a line that is not a result. Returns nothing if the line
// has another version, which is stored in *version. A result's hash is always computed from its options; *renamed is
// set if the line states another.
std::optional<Result> from_json(const std::string& line, const std::string& where, int64_t* version = nullptr,
                                bool* renamed = nullptr);

class Results {
public:
    Results() = default;
    Results(Results&&) = default; // by_family_ points into by_hash_, whose nodes keep their addresses
    Results& operator=(Results&&) = default;
    // Reads FOLDER/SCALE.jsonl; a missing file gives no results. Appends to `notes` a sentence on lines that were left
    // out.
    Results(const std::string& folder, const std::string& scale, std::vector<std::string>& notes);

    // null: none. on: the result on the file with this hash
    const Result* find(const std::string& hash, const std::string& on = "") const;
    // The results of these options with seeds 1 to `seeds` (0: any), by seed.
    std::vector<const Result*> of_seeds(const Options&, int64_t seeds, const std::string& on = "") const;
    // Among stopped runs of this hash without a whole run: the one with the most epochs. null: none.
    const Result* find_stopped(const std::string& hash) const;
    std::vector<const Result*> stopped(const Options&, int64_t seeds) const; // like of_seeds
    std::vector<MeasuredOn> files(const Options&) const; // files that these options were measured on, with any seed
    void take_indices(Results&&);                        // adds only the other's results of indices on files
    const std::map<std::string, Result>& all() const { return by_hash_; }

private:
    std::map<std::string, Result> by_hash_;                             // by hash and the file's hash
    std::map<std::string, Result> stopped_;                             // hash
    std::map<std::string, std::map<int64_t, const Result*>> by_family_; // by family_hash and the file's; then seed
};

std::string results_file(const std::string& folder, const std::string& scale);
inline constexpr const char* default_results = "runs/out/results"; // folder
// For commands that only show results. Exit::usage if a folder other than the default does not exist: a mistyped folder
// would look like one without results.
void expect_results(const std::string& folder);

// Exit::internal if append_result could not write; to be called before any work.
void require_writable(const std::string& folder, const std::string& scale);

// Adds a line under a lock, and returns once it is on the disk. Removes a torn last line left by a killed process; if
// only its line end is missing, adds that.
void append_result(const std::string& folder, const Result&);

} // namespace fci
