#include "train/metrics.h"

namespace fci {

Applicable::Applicable(const Trainer& t)
    : routes(router_kind(t.options().model.router).routes()), answers(!t.train_set().label.empty()),
      several(!t.train_set().correct.empty()), has_neighbours(routes && t.place_length() == 1) {}

Json metrics_json(const Counts& c, const Chance& chance, const Applicable& has) {
    Json ours = Json::object(), blind = Json::object();
    const auto add = [&](bool there, const char* name, int64_t n, double by_chance) {
        if (there) ours.add(name, c.percent(n));
        blind.add(name, by_chance);
    };
    add(has.routes, "routing_at_k", c.at_k, chance.at_k), add(has.routes, "routing_at_1", c.at_1, chance.at_1);
    if (has.several) add(true, "routing_all", c.all, chance.all);
    if (has.answers) add(true, "accuracy", c.correct, chance.accuracy);
    return ours.add("chance", blind);
}

Json cut_json(const Dataset& d) {
    Json cut = Json::object();
    return d.correct.empty() ? cut : cut.add("left_out", d.left_out).add("right_cut", d.correct_cut);
}

std::string metrics_text(const Counts& c, const Chance& chance, const Options& o, const Applicable& has) {
    std::string s;
    if (has.routes)
        s = fmt::format("routing@{} {:5.1f}% (chance {:.1f})  @1 {:5.1f}% ({:.1f})", o.model.top_k, c.percent(c.at_k),
                        chance.at_k, c.percent(c.at_1), chance.at_1);
    if (has.several) s += fmt::format("  all {:5.1f}% ({:.1f})", c.percent(c.all), chance.all);
    if (has.answers)
        s += fmt::format("{}accuracy {:5.1f}% ({:.1f})", s.empty() ? "" : "  ", c.percent(c.correct), chance.accuracy);
    return s;
}

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

std::string final_text(const Counts& c, const Options& o, const Applicable& has) {
    std::string s = fmt::format("final test, {} queries:", c.queries);
    if (has.routes)
        s += fmt::format("  routing@{} {:.1f}%  @1 {:.1f}%", o.model.top_k, c.percent(c.at_k), c.percent(c.at_1));
    if (has.has_neighbours) s += fmt::format("  with neighbours {:.1f}%", c.percent(c.neighbours));
    if (has.answers) s += fmt::format("  accuracy {:.1f}%", c.percent(c.correct));
    if (c.tied)
        s += fmt::format("  by ties at most {:.1f}%, without them {:.1f}%", c.percent(c.strict + c.tied),
                         c.percent(c.strict));
    return s;
}

} // namespace fci
