// `fci plot ROWS --x OPTION --y QUANTITY`.
#include <algorithm>

#include "core/nearest.h"
#include "core/streams.h"
#include "report/commands.h"
#include "report/draw.h"
#include "study/grid.h"
#include "study/lines.h"

namespace fci {
namespace {

// The options that a row is run with at this line.
Options options_of(const Line& l) {
    Options o = l.of.options;
    l.of.row.settings.apply(o);
    if (l.of.learning_rate) o.train.learning_rate = *l.of.learning_rate;
    return o;
}

std::string word_of(const Line& l, const std::string& key) {
    Options o = options_of(l);
    const std::vector<Option> all = table(o);
    return key == "learning_rate" ? rate_text(o.train.learning_rate) : find_option(all, key)->word();
}

// The option's value as a number; nothing if it is a name.
std::optional<double> number_of(const Line& l, const std::string& key) {
    Options o = options_of(l);
    const std::vector<Option> all = table(o);
    return std::visit(
        [](auto* p) -> std::optional<double> {
            if constexpr (std::is_same_v<decltype(p), std::string*> || std::is_same_v<decltype(p), bool*>)
                return {};
            else
                return static_cast<double>(*p);
        },
        find_option(all, key)->value);
}

// The values along x: their positions and labels.
struct Places {
    std::vector<std::pair<double, std::string>> all;
    bool names = false;

    Places(const std::vector<const Line*>& lines, const std::string& key) {
        for (const Line* l : lines) {
            const std::optional<double> x = number_of(*l, key);
            names = !x;
            const std::string word = word_of(*l, key);
            if (std::none_of(all.begin(), all.end(), [&](const auto& p) { return p.second == word; }))
                all.emplace_back(x.value_or(static_cast<double>(all.size())), word);
        }
        if (!names) std::sort(all.begin(), all.end());
    }
    double at(const std::string& word) const {
        return std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.second == word; })->first;
    }
    Axis axis() const {
        Axis a;
        a.ticks.clear();
        const double first = all.front().first, last = all.back().first;
        a.log = !names && first > 0 && last >= 8 * first;
        const double room = names ? 0.5 : first == last ? std::max(std::abs(first) / 2, 0.5) : 0;
        a.low = first - room, a.high = last + room;
        const size_t most = 10, step = names ? 1 : (all.size() + most - 1) / most;
        for (size_t i = 0; i < all.size(); i += step) a.ticks.push_back(all[i].first), a.names.push_back(all[i].second);
        return a;
    }
};

} // namespace

std::string plot_by_option(const PlotOptions& o) {
    const std::string y = o.y.empty() ? "routing" : o.y;
    expect_one_of("--y", y, quantities());
    Options any;
    const std::vector<Option> all = table(any);
    const Option* option = find_option(all, o.x);
    std::vector<std::string> keys;
    for (const Option& one : all)
        if (one.group != Option::run) keys.push_back(one.flag().substr(2));
    if (option && option->key == "seed")
        fail(Exit::usage, "--x {}: a point is the mean over seeds; choose another option", o.x);
    if (!option || option->group == Option::run)
        fail(Exit::usage, "--x {}: not an option of rows{}", o.x, did_you_mean(o.x, keys));

    const Study study = load_study(find_runs_folder());
    std::vector<Row> rows = study.select({o.figure});
    if (!o.reading.empty()) rows = under(rows, select_readings(study.joint, {o.reading}));
    for (Row& r : rows) // a row lists the quantities of the paper or of its kind; here y may be any
        if (std::none_of(r.paper.begin(), r.paper.end(), [&](const auto& p) { return p.first == y; }))
            r.paper = {{y, ""}};
    std::vector<std::string> notes;
    const Results own(o.results, o.scale, notes), recorded(study.folder + "/results", o.scale, notes);
    for (const std::string& note : notes) complain("fci plot: {}\n", note);
    const std::vector<Line> lines = lines_of(plan(rows, study.scale(o.scale)), own, recorded, 0);
    std::vector<const Line*> drawn;
    for (const Line& l : lines)
        if (l.quantity == y && !l.on && l.ours.seeds) drawn.push_back(&l);
    if (drawn.empty() && std::any_of(lines.begin(), lines.end(), [](const Line& l) { return l.ran; }))
        fail(Exit::usage, "{}: none of its results at scale {} has a {}", o.figure, o.scale, y);
    if (drawn.empty())
        fail(Exit::usage, "{}: there are no results with {} at scale {}; make them:\n  {} sweep {} --scale {}",
             o.figure, y, o.scale, program_name(), o.figure, o.scale);

    const Places places(drawn, option->key);
    std::vector<std::string> others = varied_keys(rows);
    const bool by_scale =
        std::any_of(rows.begin(), rows.end(), [](const Row& r) { return !r.settings.has("learning_rate"); });
    if (by_scale && study.scale(o.scale).learning_rates.size() > 1 &&
        std::find(others.begin(), others.end(), "learning_rate") == others.end())
        others.emplace_back("learning_rate");
    std::erase(others, option->key);
    Chart c;
    size_t longest = 0;
    for (const Line* l : drawn) {
        std::vector<std::string> parts;
        for (const std::string& key : others)
            parts.push_back(others.size() == 1 ? word_of(*l, key) : key + " " + word_of(*l, key));
        const std::string label = parts.empty() ? o.figure : fmt::format("{}", fmt::join(parts, ", "));
        auto curve = std::find_if(c.curves.begin(), c.curves.end(), [&](const Curve& k) { return k.label == label; });
        if (curve == c.curves.end()) {
            const size_t i = c.curves.size();
            curve = c.curves.insert(
                curve, {label, fmt::format("c{} d{}", i % 6, i / 6 % 3), {}, {}, {}, {}, true, true, !places.names});
            longest = std::max(longest, label.size());
        }
        const double x = places.at(word_of(*l, option->key));
        if (std::find(curve->x.begin(), curve->x.end(), x) != curve->x.end()) continue; // rows may share a run
        const auto [low, high] = std::minmax_element(l->ours.values.begin(), l->ours.values.end());
        const size_t at = std::lower_bound(curve->x.begin(), curve->x.end(), x) - curve->x.begin();
        const auto put = [&](std::vector<double>& to, double value) {
            to.insert(to.begin() + static_cast<int64_t>(at), value);
        };
        put(curve->x, x), put(curve->y, l->ours.mean), put(curve->low, *low), put(curve->high, *high);
        const bool same =
            std::all_of(drawn.begin(), drawn.end(), [&](const Line* k) { return k->ours.chance == l->ours.chance; });
        if (same) c.chance = l->ours.chance;
    }
    if (places.names) // side by side
        for (size_t i = 0; i < c.curves.size(); ++i)
            for (double& x : c.curves[i].x)
                x += 0.1 * (static_cast<double>(i) - static_cast<double>(c.curves.size() - 1) / 2);
    c.x = places.axis(), c.y = axis_of(y), c.x_title = flag_of(option->key).substr(2);
    c.title = fmt::format("{}: {} by {}; mean and range of the seeds", o.figure, y, c.x_title);
    c.labels = 30 + 7.6 * static_cast<double>(std::min<size_t>(longest, 64));
    c.width = std::max(520.0, 90.0 * static_cast<double>(c.x.ticks.size())) + c.labels;
    c.height = std::max(340.0, 60 + 14.0 * static_cast<double>(c.curves.size()));
    return svg_file(c.width + 8, c.height + 8, c.title, chart(c));
}

} // namespace fci
