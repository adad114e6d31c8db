#include "study/hotpot_rows.h"

#include <algorithm>

#include "study/hotpot_commands.h"
#include "study/verdict.h"
#include "tasks/hotpot_world.h"

namespace fci {
namespace {

constexpr const char* address = "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json";
constexpr int generated_examples = 1000;
constexpr size_t official_examples = 7405; // of the dev set, distractor setting

std::string verdict_on(const std::string& paper, const HotpotResult::Number& x) {
    Ours ours;
    ours.seeds = 1, ours.mean = x.value, ours.half_width = (x.high - x.low) / 2, ours.chance = x.chance;
    return name(judge("routing", *parse_paper(paper), ours));
}

} // namespace

bool on_hotpot(const Row& row) {
    return row.task == "hotpotqa" && row.needs == "hotpotqa" && (row.router == "bm25" || row.router == "random");
}

void print_hotpot_rows(const std::vector<Row>& rows, const std::string& data, int threads) {
    Workers workers(threads ? threads : Workers::available());
    const std::vector<HotpotExample> examples = data.empty()
                                                    ? make_hotpot(generated_examples, 0, Stream::test_data, workers)
                                                    : std::move(load_reported(data, workers).examples);
    const bool generated = std::any_of(examples.begin(), examples.end(), is_generated);
    if (data.empty())
        fmt::print("\nHotpotQA on generated examples, since no file was named: not the paper's rows.\n"
                   "The official file (about 46 MB, CC BY-SA 4.0): {}\n"
                   "Then: ./fci reproduce table1 --data FILE; `sha256sum FILE` tells what you have.\n",
                   address);
    else if (generated)
        fmt::print("\nHotpotQA: {} holds generated examples: not the paper's rows\n", data);
    else
        fmt::print("\nHotpotQA: {}, {} examples{}\n", data, examples.size(),
                   examples.size() == official_examples
                       ? ""
                       : fmt::format("; the official dev file has {}, so this is not all of it", official_examples));
    fmt::print("{:<22}{:<8}{:>6}{:>7}   {:<15}{:>7}   {}\n", "id", "what", "paper", "ours", "95% interval", "chance",
               "verdict");
    HotpotResult r;
    for (const Row& row : rows) {
        HotpotOptions o;
        o.method = row.router;
        r = evaluate_hotpot(examples, o, workers);
        for (const size_t m : {0, 1, 2}) { // any, all, recall
            const auto routing = std::find_if(row.paper.begin(), row.paper.end(),
                                              [](const auto& quantity) { return quantity.first == "routing"; });
            const bool compared = !generated && m == 0 && routing != row.paper.end();
            const HotpotResult::Number& x = r.numbers[m];
            fmt::print("{:<22}{:<8}{:>6}{:7.1f}   {:<15}{:7.1f}   {}\n", row.id + (generated ? " (generated)" : ""),
                       HotpotMeasure::names[m], compared ? routing->second : "", x.value,
                       fmt::format("{:.1f} - {:.1f}", x.low, x.high), x.chance,
                       compared ? verdict_on(routing->second, x) : "-");
        }
    }
    fmt::print(
        "2 of 16 segments, {} examples ({} of fewer than 16 sentences left out); {:.2f} segments an example hold "
        "a supporting sentence\n",
        r.examples, r.too_short, r.right_units);
}

} // namespace fci
