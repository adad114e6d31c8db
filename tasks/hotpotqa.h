// HotpotQA [Yang et al. 2018]: questions over ten paragraphs, two of which hold what is needed to answer.
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
// example a line, or indented, one after the other. Needed are question, supporting_facts and context; of "answer",
// "type" and "level" what is not a string is passed over, as are other keys (2WikiMultihopQA has them), whatever they
// hold. Python's NaN, numbers beyond a double and halves of surrogate pairs (U+FFFD) are read as Python reads them.
// Written is the official layout, compact, as UTF-8.
//
// The file is mapped, cut at the array's elements or at the lines, and each piece parsed by itself on any number of
// threads; a piece's pages are let go when it is done, so memory is what the examples hold. What is wrong
//   with the file (cut short, not JSON, an example over 64 MB, none that can be used)   Exit::bad_data, with the byte
//   with one example (wrong type, no context, no sentence, invalid UTF-8)               reported, skipped, counted
//   with a supporting fact (no such sentence)                                           counted, and kept as text
// If others cut the file while it is read, the program says so and ends with Exit::bad_data: mapped memory returns no
// error (SIGBUS).
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
    std::vector<uint32_t> supporting; // sentences that the facts name, ascending, each once
    // The official evaluation knows a sentence by (title, index) alone. Where titles repeat: for each sentence the
    // first one with its name; else empty.
    std::vector<uint32_t> first_of_name;

    HotpotExample() = default;
    HotpotExample(HotpotExample&&) = default;
    HotpotExample& operator=(HotpotExample&&) = default;
    HotpotExample(const HotpotExample&) = delete; // the views point into its own text

    // Call once all else is set: finds `supporting`, and copies all text, so that it may outlive what it came from.
    void settle();
    int lost_facts() const { return distinct_facts_ - found_facts_; } // each counted once; they name no sentence
    int found_facts() const { return found_facts_; }
    // (title, index) pairs, each once: what the official evaluation compares with.
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
    std::vector<HotpotProblem> problems; // of malformed examples, the first of them
    int64_t malformed = 0;               // skipped
    int64_t lost_facts = 0;
    uint64_t hash = 0; // of the text, in the order of the file
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
