#include "study/execute.h"

#include <simdjson.h>

#include <cmath>
#include <filesystem>

#include "core/files.h"
#include "core/json_read.h"
#include "study/analysis.h"
#include "study/index_run.h"
#include "train/options_toml.h"
#include "train/provenance.h"
#include "train/run.h"

namespace fci {
namespace {

// A member of the provenance: where a resumed run was started, if by another build or on another processor.
std::string other_origin(const std::string& folder, const RunOptions& run) {
    const std::string path = folder + "/config.toml";
    if (!std::filesystem::exists(path)) return "";
    const toml::table config = parse_toml(read_file(path), path, Exit::bad_data);
    Json origin = Json::object();
    bool differs = false;
    for (const auto& [key, now] : provenance(run)) {
        const std::string then = config["provenance"][key].value_or(std::string());
        differs |= then != now;
        origin.add(key, then);
    }
    return differs ? "\"started_with\":" + origin.text() + "," : "";
}

} // namespace

void read_log(const std::string& path, Result& r) {
    each_json_line(read_file(path), [&](simdjson::error_code error, simdjson::dom::element json) {
        const auto refuse = [&](const char* what) {
            fail(Exit::bad_data, "{}: {}: the run cannot be measured; remove its folder to start it again", path, what);
        };
        if (error) refuse("a line is not JSON");
        const auto number = [&](const char* key) {
            double x = NAN; // stays NaN for router none, which has no routing
            return json[key].get(x) == simdjson::SUCCESS ? x : NAN;
        };
        std::string_view type;
        if (json["type"].get(type) != simdjson::SUCCESS) return;
        if (type == "step" && !std::isfinite(r.seconds += number("ms") / 1e3)) refuse("a step without its time");
        if (type != "epoch") return;
        int64_t epoch;
        if (json["epoch"].get(epoch) || epoch < 1 || epoch > largest_size) refuse("an epoch without its number");
        r.curve.push_back(
            {static_cast<double>(epoch), number("routing_at_k"), number("routing_at_1"), number("accuracy")});
        if (bool transition = false; json["transition"].get(transition) == simdjson::SUCCESS && transition)
            r.transition_epoch = static_cast<int>(epoch);
    });
}

void set_numbers(Result& r, const Trainer& trainer, const Counts& c) {
    const Chance& chance = *trainer.chance();
    const Dataset& test = trainer.test_set();
    if (router_kind(trainer.options().model.router).routes()) {
        r.metrics.at_k = c.percent(c.at_k), r.metrics.at_1 = c.percent(c.at_1);
        r.chance.at_k = chance.at_k, r.chance.at_1 = chance.at_1;
    }
    if (!test.label.empty()) r.metrics.accuracy = c.percent(c.correct), r.chance.accuracy = chance.accuracy;
    if (!test.correct.empty()) {
        r.analysis["routing_all"] = c.percent(c.all), r.analysis["chance_all"] = chance.all;
        r.analysis["chance_drawn_starts"] = chance.drawn_starts;
        r.analysis["chance_drawn_positions"] = chance.drawn_positions;
        r.analysis["left_out"] = static_cast<double>(test.left_out); // number of test examples
        r.analysis["right_cut"] = static_cast<double>(test.correct_cut);
    }
    r.queries = c.queries;
    r.provenance = provenance_json(trainer.options(), trainer.data_hash());
    r.options = trainer.options();
}

FinalTest final_of(const Counts& c, const Trainer& trainer) {
    const bool routes = router_kind(trainer.options().model.router).routes();
    FinalTest f;
    f.queries = c.queries;
    if (routes) f.metrics.at_k = c.percent(c.at_k), f.metrics.at_1 = c.percent(c.at_1);
    if (!trainer.test_set().label.empty()) f.metrics.accuracy = c.percent(c.correct);
    if (routes && trainer.place_length() == 1) f.neighbours = c.percent(c.neighbours);
    if (c.compared) f.strict = c.percent(c.strict), f.ties = c.percent(c.tied);
    return f;
}

std::optional<Result> execute(const PlannedRun& run, const std::string& scale, const std::string& folder,
                              const RunOptions& how, Progress& progress) {
    Options o = run.options;
    o.run.threads = how.threads, o.run.device = how.device, o.run.precision = how.precision;
    o.run.backbone_cache = how.backbone_cache;
    o.run.stop_after = run.stop_after;
    resolve(o);
    Result r;
    r.hash = run.hash, r.scale = scale, r.seed = o.train.seed;

    if (router_kind(o.model.router).type != RouterKind::in_model) {
        const IndexOutcome x = run_index(o, &progress);
        r.metrics.at_k = x.counts.percent(x.counts.at_k), r.metrics.at_1 = x.counts.percent(x.counts.at_1);
        r.chance.at_k = x.chance.at_k, r.chance.at_1 = x.chance.at_1;
        r.queries = x.counts.queries, r.analysis = x.extra, r.seconds = x.seconds;
        if (const auto& f = x.final)
            r.final = FinalTest{{f->percent(f->at_k), f->percent(f->at_1), {}}, {}, {}, {}, f->queries};
        r.provenance = provenance_json(x.options, x.data_hash);
        r.options = x.options;
        return r;
    }

    const std::string origin = other_origin(folder, o.run);
    const AtEnd at_end = [&](Trainer& trainer, const Counts& c, const std::optional<Counts>& final, int transition) {
        r.analysis = analyse(trainer, rank_sequences, &c);
        set_numbers(r, trainer, c);
        if (final) r.final = final_of(*final, trainer);
        r.transition_epoch = transition;
        if (trainer.steps_done() < trainer.steps_total())
            r.stopped_after = static_cast<int>(trainer.steps_done() / trainer.steps_per_epoch());
    };
    const Exit exit = carry_out(o, folder, progress, at_end);
    if (exit != Exit::ok) return std::nullopt;
    r.provenance.insert(1, origin);
    read_log(folder + "/log.jsonl", r);
    return r;
}

} // namespace fci
