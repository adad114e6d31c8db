#include "train/metrics.h"

#include "train/provenance.h"

namespace fci {

Applicable::Applicable(const Trainer& t)
    : routes(router_kind(t.options().model.router).routes()), answers(!t.train_set().label.empty()),
      several(!t.train_set().correct.empty()), has_neighbours(routes && t.place_length() == 1) {}

Json metrics_json(const Counts& c, const std::optional<Chance>& known, const Applicable& has) {
    const Chance chance = known.value_or(Chance());
    Json ours = Json::object(), blind = Json::object();
    const auto add = [&](bool there, const char* name, int64_t n, double by_chance) {
        if (there) ours.add(name, c.percent(n));
        blind.add(name, by_chance);
    };
    add(has.routes, "routing_at_k", c.at_k, chance.at_k), add(has.routes, "routing_at_1", c.at_1, chance.at_1);
    if (has.several) add(true, "routing_all", c.all, chance.all);
    if (has.answers) add(true, "accuracy", c.correct, chance.accuracy);
    return ours.add("chance", known ? blind : Json::raw("null"));
}

std::string no_chance(const Trainer& t) {
    return fmt::format("chance is not known, because the training set is not there: {}", t.absent().value().why);
}

void print_json(Json& j, const Trainer& trainer, const std::string& folder) {
    j.add("peak_rss_mb", Json::number("{:.1f}", peak_rss_mb())).add("parameters", trainer.parameter_count());
    if (!folder.empty()) j.add("folder", folder);
    j.add("provenance", Json::raw(provenance_json(trainer.options(), trainer.data_hash())));
    fmt::print("{}\n", j.text());
}

Json cut_json(const Dataset& d) {
    Json cut = Json::object();
    return d.correct.empty() ? cut : cut.add("left_out", d.left_out).add("right_cut", d.correct_cut);
}

namespace {

constexpr int column = 11;

std::string row(const Applicable& has, double at_k, double at_1, double all, double accuracy) {
    std::string s;
    const auto add = [&](bool there, double percent) {
        if (there) s += fmt::format("{:>{}.1f}%", percent, column - 1);
    };
    add(has.routes, at_k), add(has.routes, at_1), add(has.several, all), add(has.answers, accuracy);
    return s;
}

} // namespace

std::string metrics_heading(const Options& o, const Applicable& has) {
    std::string s;
    const auto add = [&](bool there, const std::string& name) {
        if (there) s += fmt::format("{:>{}}", name, column);
    };
    add(has.routes, fmt::format("routing@{}", o.model.top_k)), add(has.routes, "routing@1");
    add(has.several, "all right"), add(has.answers, "accuracy");
    return s;
}

std::string metrics_row(const Counts& c, const Applicable& has) {
    return row(has, c.percent(c.at_k), c.percent(c.at_1), c.percent(c.all), c.percent(c.correct));
}

std::string metrics_row(const Chance& c, const Applicable& has) { return row(has, c.at_k, c.at_1, c.all, c.accuracy); }

Json final_json(const Counts& c, const Applicable& has) {
    Json j = Json::object();
    j.add("queries", c.queries);
    const auto add = [&](bool there, const char* name, int64_t n) {
        if (there) j.add(name, c.percent(n));
    };
    add(has.routes, "routing_at_k", c.at_k), add(has.routes, "routing_at_1", c.at_1);
    add(has.answers, "accuracy", c.correct), add(has.has_neighbours, "routing_neighbours", c.neighbours);
    add(c.compared > 0, "routing_strict", c.strict), add(c.compared > 0, "routing_ties", c.tied);
    return j;
}

std::vector<std::string> closer_look(const Counts& c, const Applicable& has) {
    std::vector<std::string> lines;
    if (has.has_neighbours)
        lines.push_back(fmt::format("with each choice's right neighbour chosen too: {:.1f}%", c.percent(c.neighbours)));
    if (c.tied)
        lines.push_back(fmt::format("equal scores: {:.1f}% if they count as wrong, {:.1f}% if they count as right",
                                    c.percent(c.strict), c.percent(c.strict + c.tied)));
    return lines;
}

std::string transition_text(int64_t epoch, const std::optional<Chance>& chance) {
    if (epoch) return fmt::format("; the transition was in epoch {}", epoch);
    if (chance && chance->at_k > 99.9)
        return "; chance is 100% here: routing shows nothing (more --pairs or a longer task)";
    return "; no transition: routing stayed below half way to 100%";
}

} // namespace fci
