// HotpotQA [Yang et al. 2018]: questions over ten paragraphs, two of which hold the evidence for the answer.
//
//   question     In which town was the director of The Grey Harbour born?        answer  Ostvale
//   paragraph 1  The Grey Marsh      0  1  2            sentences, numbered through the example
//             2  The Grey Harbour   *3  4               * supporting: the facts name them as (title, index in it)
//               ...
//            10  Oda Vellin         40 *41
//   facts        (The Grey Harbour, 0), (Oda Vellin, 1)
//
// Layouts that are read: the official one, [{"_id","question","answer","type","level",
// "supporting_facts":[[TITLE,INDEX],...],"context":[[TITLE,[SENTENCE,...]],...]},...]; the columnar one ("id",
// "supporting_facts":{"title":[],"sent_id":[]}, "context":{"title":[],"sentences":[[]]}); either as JSON Lines, one
// example per line, or as consecutive indented objects. question, supporting_facts and context are required. Values of
// "answer", "type" and "level" that are not strings are ignored, as are all other keys (2WikiMultihopQA has some).
// Python's NaN, numbers beyond a double and halves of surrogate pairs (U+FFFD) are read as Python reads them. Files are
// written in the official layout, compact, as UTF-8.
//
// The file is mapped and cut into the array's elements or the lines; any number of threads parse the pieces. A piece's
// pages are released when it is done, so memory use is that of the examples. Errors
//   with the file (cut short, not JSON, an example over 64 MB, none that can be used)   Exit::bad_data, with the byte
//   with one example (wrong type, no context, no sentence, invalid UTF-8)               reported, skipped, counted
//   with a supporting fact (no such sentence)                                           counted, and kept as text
// If another process truncates the file while it is read, the program says so and ends with Exit::bad_data: mapped
// memory returns no error (SIGBUS).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/workers.h"

namespace fci {

struct HotpotExample {
    struct Paragraph {
        std::string_view title;
        uint32_t begin, end; // of `sentences`; may be equal
    };
    struct Fact {
        std::string_view title;
        int64_t index; // within the paragraph
    };
    std::string_view id, question, answer, type, level;
    std::vector<Paragraph> paragraphs;
    std::vector<std::string_view> sentences; // of all paragraphs, in order
    std::vector<Fact> facts;
    std::vector<uint32_t> supporting; // indices of the sentences that the facts name, ascending, each once
    // The official evaluation identifies a sentence by (title, index) alone. If titles repeat: for each sentence the
    // first one with the same title and index; else empty.
    std::vector<uint32_t> first_of_name;

    HotpotExample() = default;
    HotpotExample(HotpotExample&&) = default;
    HotpotExample& operator=(HotpotExample&&) = default;
    HotpotExample(const HotpotExample&) = delete; // the views point into its own text

    // Call after all else is set: finds `supporting`, and copies all text, so that the example may outlive its source.
    void settle();
    int lost_facts() const { return distinct_facts_ - found_facts_; } // facts that name no sentence, each counted once
    int found_facts() const { return found_facts_; }
    // Distinct (title, index) pairs: the official evaluation compares with these.
    int distinct_facts() const { return distinct_facts_; }

private:
    std::vector<char> text_; // one block for all strings
    int distinct_facts_ = 0, found_facts_ = 0;
};

struct HotpotProblem {
    int64_t index; // from 0, in the file
    std::string id;
    uint64_t offset; // byte in the file
    std::string what;
};

struct HotpotFile {
    static constexpr size_t most_listed = 1000;
    std::vector<HotpotExample> examples;
    std::vector<HotpotProblem> problems; // the first malformed examples
    int64_t malformed = 0;               // skipped
    int64_t lost_facts = 0;
    uint64_t hash = 0; // of the text, in file order
    size_t bytes = 0;
};

// The official dev file of the distractor setting, http://curtis.ml.cmu.edu/datasets/hotpot/NAME: size and SHA-256 of
// the download, and how many examples it has [Yang et al. 2018].
constexpr struct {
    const char *name, *sha256;
    size_t bytes, examples;
} hotpot_dev{"hotpot_dev_distractor_v1.json", "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea",
             46320117, 7405};

constexpr size_t largest_hotpot_example = size_t{64} << 20; // bytes

HotpotFile load_hotpot(const std::string& path, Workers&);
HotpotFile parse_hotpot(const std::string& name, std::string_view bytes, Workers&); // of memory; name: for messages

std::string hotpot_json(std::span<const HotpotExample>);
void save_hotpot(const std::string& path, std::span<const HotpotExample>);

} // namespace fci
