#include "study/hotpot_rows.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/streams.h"
#include "study/execute.h"
#include "study/hotpot_commands.h"
#include "study/verdict.h"
#include "tasks/hotpot_text.h"
#include "tasks/hotpot_world.h"
#include "train/checkpoint.h"
#include "train/run.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

constexpr int generated_examples = 1000;
constexpr const char* site = "http://curtis.ml.cmu.edu/datasets/hotpot/";
const std::string index_scale = "paper"; // nothing in these rows is scaled down

std::string grouped(size_t n) { // 46,320,117
    return n < 1000 ? fmt::format("{}", n) : fmt::format("{},{:03}", grouped(n / 1000), n % 1000);
}

std::string verdict_on(const std::string& paper, const HotpotResult::Number& x, const MeasuredOn& file) {
    if (!is_official(file)) return "-";
    Summary ours;
    ours.seeds = 1, ours.mean = x.value, ours.half_width = (x.high - x.low) / 2,
    ours.half_90 = ours.half_width * 1.645 / 1.96;
    return name(judge("routing", *parse_paper(paper), ours));
}

Result result_of(const Row& row, const HotpotResult& h, const MeasuredOn& file) {
    Result r;
    r.options = index_options(row);
    r.hash = run_hash(r.options), r.scale = index_scale, r.seed = r.options.train.seed;
    r.on = file, r.queries = h.examples, r.seconds = h.seconds;
    const HotpotResult::Number &any = h.numbers[0], &all = h.numbers[1];
    r.metrics.at_k = any.value, r.chance.at_k = any.chance;
    r.analysis = {{"routing_low", any.low},
                  {"routing_high", any.high},
                  {"routing_all", all.value},
                  {"all_low", all.low},
                  {"all_high", all.high},
                  {"chance_all", all.chance},
                  {"left_out", static_cast<double>(h.too_short + h.without_support)}};
    r.provenance = provenance_json(r.options, std::stoull(file.hash, nullptr, 16));
    return r;
}

void print_source(const HotpotData& data) {
    if (data.file.examples == 0) {
        fmt::print("\nHotpotQA on generated examples, since no file was named: not the paper's rows.\n"
                   "The official file: {}{}\n{} bytes, SHA-256 {} (CC BY-SA 4.0).\n"
                   "Then: {} reproduce table1 --data FILE; `sha256sum FILE` shows whether it is this file.\n",
                   site, hotpot_dev.name, grouped(hotpot_dev.bytes), hotpot_dev.sha256, program_name());
        return;
    }
    fmt::print("\nHotpotQA: {}\n", file_text(data.file));
    if (!data.file.generated)
        fmt::print("The official dev file, {}{}, has {} bytes, SHA-256 {} (`sha256sum FILE`).\n", site, hotpot_dev.name,
                   grouped(hotpot_dev.bytes), hotpot_dev.sha256);
}

} // namespace

Options index_options(const Row& row) {
    Options o;
    o.task.task = row.task, o.model.router = row.router, o.model.top_k = HotpotOptions().top_k;
    return canonical(o);
}

bool is_official(const MeasuredOn& f) {
    return !f.generated && f.bytes == static_cast<int64_t>(hotpot_dev.bytes) &&
           f.examples == static_cast<int64_t>(hotpot_dev.examples);
}

std::string file_text(const MeasuredOn& f) {
    const std::string is = f.generated      ? "generated, not the paper's data"
                           : is_official(f) ? "as many bytes and examples as the official dev file"
                           : f.examples == static_cast<int64_t>(hotpot_dev.examples)
                               ? "as many as the official dev file, but of another size: no verdict"
                               : fmt::format("the official dev file has {}: a sample or another set, so no verdict",
                                             grouped(hotpot_dev.examples));
    return fmt::format("{}: {} examples ({}), {} bytes, data hash {}", f.name, grouped(f.examples), is,
                       grouped(f.bytes), f.hash);
}

HotpotData load_hotpot_data(const std::string& path, int threads) {
    if (path.empty()) return {};
    Workers workers(threads ? threads : Workers::available());
    HotpotFile file = load_reported(path, workers);
    HotpotData d;
    d.examples = std::move(file.examples);
    d.file = {fs::path(path).filename().string(), fmt::format("{:016x}", file.hash),
              static_cast<int64_t>(d.examples.size()), static_cast<int64_t>(file.bytes),
              std::any_of(d.examples.begin(), d.examples.end(), is_generated)};
    return d;
}

void measure_index_rows(const std::vector<Row>& rows, const HotpotData& data, const std::string& results, int threads) {
    Workers workers(threads ? threads : Workers::available());
    const bool named = data.file.examples > 0, generated = !named || data.file.generated;
    const std::vector<HotpotExample> own =
        named ? std::vector<HotpotExample>() : make_hotpot(generated_examples, 0, Stream::test_data, workers);
    print_source(data);
    fmt::print("{:<22}{:<8}{:>6}{:>7}   {:<15}{:>7}   {}\n", "id", "what", "paper", "ours", "95% interval", "chance",
               "verdict");
    HotpotResult r;
    for (const Row& row : rows) {
        HotpotOptions o;
        o.method = row.router;
        r = evaluate_hotpot(named ? data.examples : own, o, workers);
        for (const size_t m : {0, 1, 2}) { // any, all, recall
            const auto routing = std::find_if(row.paper.begin(), row.paper.end(),
                                              [](const auto& quantity) { return quantity.first == "routing"; });
            const bool compared = !generated && m == 0 && routing != row.paper.end();
            const HotpotResult::Number& x = r.numbers[m];
            fmt::print("{:<22}{:<8}{:>6}{:7.1f}   {:<15}{:7.1f}   {}\n", row.id + (generated ? " (generated)" : ""),
                       HotpotMeasure::names[m], compared ? routing->second : "", x.value,
                       fmt::format("{:.1f} - {:.1f}", x.low, x.high), x.chance,
                       compared ? verdict_on(routing->second, x, data.file) : "-");
        }
        if (!generated) append_result(results, result_of(row, r, data.file));
    }
    fmt::print(
        "2 of 16 segments, {} examples ({} with fewer than 16 sentences left out); {:.2f} segments per example hold "
        "a supporting sentence\n",
        r.examples, r.too_short, r.correct_units);
    if (!generated) fmt::print("recorded in {}\n", results_file(results, index_scale));
}

void measure_text_runs(const std::vector<PlannedRun>& runs, const HotpotData& data, const SweepOptions& o) {
    std::vector<std::string> notes;
    const Results known(o.results, o.scale, notes);
    for (const PlannedRun& run : runs) {
        if (known.find(run.hash, data.file.hash)) continue;
        const std::string path = run_folder(run, o) + "/checkpoint.safetensors";
        const Result* trained = known.find(run.hash);
        if (!trained || !fs::exists(path)) {
            complain("{}: not measured on {}: {}\n", run.label, data.file.name,
                     trained ? fmt::format(
                                   "its result is known, but {} is missing; choose another --results to train it again",
                                   path)
                             : "it has no result yet");
            continue;
        }
        const Options how = checkpoint_options(path, o.how);
        Trainer trainer(make_data(how));
        load_checkpoint(path, trainer);
        trainer.set_test_set(hotpot_dataset(data.examples, how.task, data.file.name, trainer.workers()), how.task,
                             data.file.name);
        Result r;
        r.hash = run.hash, r.scale = o.scale, r.seed = how.train.seed, r.on = data.file;
        set_numbers(r, trainer, trainer.evaluate());
        append_result(o.results, r);
        if (!o.quiet)
            fmt::print("{}  on {}: routing {:5.1f}% (chance {:.1f}), {} sequences\n", run.label, data.file.name,
                       *r.metrics.at_k, *r.chance.at_k, r.queries);
    }
}

} // namespace fci
