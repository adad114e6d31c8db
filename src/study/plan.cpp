#include "study/plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "core/files.h"
#include "core/hash.h"
#include "nn/representation.h"
#include "routing/router.h"
#include "study/hotpot_rows.h"

namespace fci {
bool learns(const Options& o) {
    const RouterKind::Type type = router_kind(o.model.router).type;
    return type == RouterKind::in_model || type == RouterKind::bandit;
}

std::string rate_text(double rate) {
    const int e = static_cast<int>(std::floor(std::log10(rate) + 1e-9));
    return fmt::format("{:g}e{}", rate / std::pow(10.0, e), e);
}

Options canonical(Options o) {
    const Options start;
    o.run = start.run;
    o.task = canonical(o.task);
    ModelOptions& m = o.model;
    TrainOptions& n = o.train;
    if (!learns(o)) {
        const auto [router, top_k] = std::pair(m.router, m.top_k);
        m = start.model, m.router = router, m.top_k = top_k;
        n.learning_rate = start.train.learning_rate, n.weight_decay = start.train.weight_decay;
        n.clip = start.train.clip, n.epochs = start.train.epochs, n.batch = start.train.batch;
        n.contrastive = start.train.contrastive;
    }
    if (router_kind(m.router).type != RouterKind::in_model) n.added_epochs = start.train.added_epochs;
    if (router_kind(m.router).type != RouterKind::in_model) n.init_from = start.train.init_from;
    if (router_kind(m.router).type == RouterKind::bandit) m.representation = "raw"; // the model bandits look at
    const Mixing mixing(m.representation);
    m.representation = mixing.text();
    if (m.has_backbone()) {
        m.d_model = start.model.d_model; // set by --backbone-width
        if (m.representation == "content-only") m.representation = "raw";
    } else {
        m.backbone_layer = start.model.backbone_layer, m.backbone_weights = start.model.backbone_weights;
        m.backbone_width = start.model.backbone_width, m.backbone_precision = start.model.backbone_precision;
    }
    m.positions = has_positions(m) ? "everywhere" : "none"; // in_mixer is equivalent to one of the two
    if (m.representation == "raw" && m.positions == "none" && !m.has_backbone() &&
        router_kind(m.router).type != RouterKind::bandit)
        m.representation = "content-only"; // the same model under another name
    if (m.representation == "content-only" || m.has_backbone()) m.positions = start.model.positions;
    if (std::string_view(mixing.kind->name) != "global-mean") m.mean_residual = start.model.mean_residual;
    if (!router_kind(m.router).routes()) m.top_k = start.model.top_k, m.router_norm = start.model.router_norm;
    if (router_kind(m.router).type != RouterKind::bandit) n.bandit_context = start.train.bandit_context;
    if (n.contrastive == "none") n.contrastive_target = start.train.contrastive_target;
    return o;
}

void refuse_idle(const Options& options, const Given& given) {
    Options o = options, does = canonical(options), start;
    const std::vector<Option> all = table(o), used = table(does), defaults = table(start);
    for (size_t i = 0; i < all.size(); ++i)
        for (const auto& [key, word] : given) {
            if (key != all[i].key || (all[i].group != Option::model && all[i].group != Option::train)) continue;
            if (o.model.has_backbone() && (key == "d_model" || key == "positions"))
                fail(Exit::usage, "{} {} would do nothing with --backbone{}: leave it out", all[i].flag(), word,
                     key == "d_model" ? " (--backbone-width sets the width)" : ", whose states have positions");
            if (key == "representation" || key == "positions" || // one model may have two names
                used[i].text() == all[i].text() || used[i].text() != defaults[i].text())
                continue;
            if (key.starts_with("backbone_"))
                fail(Exit::usage, "{} {} would do nothing without --backbone FOLDER: leave it out", all[i].flag(),
                     word);
            fail(Exit::usage, "{} {} would do nothing with --representation {} --router {}{}{}: leave it out",
                 all[i].flag(), word, o.model.representation, o.model.router,
                 o.model.has_backbone() ? " --backbone" : "", key == "contrastive_target" ? " --contrastive none" : "");
        }
}

std::string run_hash(const Options& options) {
    Options o = canonical(options), start;
    const std::vector<Option> all = table(o), defaults = table(start);
    std::vector<std::string> lines;
    for (size_t i = 0; i < all.size(); ++i)
        if (all[i].group != Option::run && all[i].key != "backbone" && all[i].text() != defaults[i].text())
            lines.push_back(all[i].key + " = " + all[i].text() + "\n");
    std::sort(lines.begin(), lines.end());
    return fmt::format("{:016x}", hash64(fmt::format("{}", fmt::join(lines, ""))));
}

std::string family_hash(Options o) {
    o.train.seed = Options().train.seed;
    return run_hash(o);
}

Options Case::seeded(int64_t seed) const {
    Options o = options;
    o.train.seed = seed;
    return o;
}

std::vector<Case> plan(const std::vector<Row>& rows, const Scale& scale) {
    std::vector<Case> cases;
    for (const Row& row : rows) {
        if (!row.has_runs()) {
            cases.push_back({row, row.measured == Measured::by_index ? index_options(row) : Options(), {}});
            continue;
        }
        Options o;
        scale.any.apply(o);
        for (const auto& [task, settings] : scale.tasks)
            if (task == row.task) settings.apply(o);
        row.settings.apply(o);
        try {
            Options whole = o;        // reports errors in options before anything runs
            whole.run.device = "cpu"; // nothing runs here: needs no GPU
            if (row.needs.empty()) resolve(whole);
        } catch (const Error& e) {
            fail(e.exit, "{}:{}: row {} at scale {}: {}", row.file, row.line, row.label(), scale.name, e.what());
        }
        const bool own_rate = row.settings.has("learning_rate");
        for (const double rate : !own_rate                    ? scale.learning_rates
                                 : row.learning_rates.empty() ? std::vector{o.train.learning_rate}
                                                              : row.learning_rates) {
            o.train.learning_rate = rate;
            cases.push_back({row, canonical(o), learns(o) ? std::optional(rate) : std::nullopt});
            if (!learns(o)) break;
        }
    }
    return cases;
}

void place_backbones(std::vector<Row>& rows, const std::string& folder) {
    std::error_code error;
    if (!folder.empty() && !std::filesystem::is_directory(folder, error))
        fail(Exit::usage, "--backbones {}: expected a folder, with a folder for each pretrained model", folder);
    for (Row& row : rows) {
        Options& o = row.settings.values;
        const std::string place = folder + "/" + o.model.backbone;
        if (folder.empty() || !o.model.has_backbone() || !std::filesystem::exists(place + "/config.json", error))
            continue;
        o.model.backbone = place;
        resolve_backbone(o);
        if (!row.settings.has("backbone_hash")) row.settings.keys.emplace_back("backbone_hash");
        row.needs.clear();
    }
}

namespace {

// wanted(case, seed): whether this run is one of them
template <class Wanted>
std::vector<PlannedRun> chosen_runs(const std::vector<Case>& cases, const std::vector<int64_t>& seeds, Wanted wanted) {
    std::vector<PlannedRun> runs;
    std::map<std::string, std::vector<std::string>> labels;
    for (const int64_t seed : seeds) // seed by seed: every row has an early first result
        for (const Case& c : cases) {
            if (!c.row.needs.empty() || !wanted(c, seed)) continue;
            const Options o = c.seeded(seed);
            const std::string hash = run_hash(o);
            std::vector<std::string>& names = labels[hash];
            if (names.empty()) {
                const std::string rate = c.learning_rate ? " lr " + rate_text(*c.learning_rate) : "";
                runs.push_back({hash, fmt::format("{} seed {}", rate, seed), o});
            }
            if (std::find(names.begin(), names.end(), c.row.label()) == names.end()) names.push_back(c.row.label());
        }
    for (PlannedRun& r : runs) {
        const std::vector<std::string>& names = labels[r.hash];
        const std::string more = names.size() > 1 ? fmt::format(" and {} more", names.size() - 1) : "";
        r.label = names[0] + more + r.label;
    }
    return runs;
}

} // namespace

std::vector<PlannedRun> runs_of(const std::vector<Case>& cases, int64_t seeds) {
    const auto of_row = [&](const Case& c) { return seeds ? seeds : std::max<int64_t>(c.row.seeds, 1); };
    int64_t most = 0;
    for (const Case& c : cases) most = std::max(most, of_row(c));
    std::vector<int64_t> list(most);
    std::iota(list.begin(), list.end(), 1);
    return chosen_runs(cases, list, [&](const Case& c, int64_t seed) { return seed <= of_row(c); });
}

std::vector<PlannedRun> runs_of(const std::vector<Case>& cases, const std::vector<int64_t>& seeds) {
    return chosen_runs(cases, seeds, [](const Case&, int64_t) { return true; });
}

void stop_after(std::vector<PlannedRun>& runs, int epochs) {
    for (PlannedRun& r : runs)
        r.stop_after =
            router_kind(r.options.model.router).type == RouterKind::in_model && epochs < r.options.train.all_epochs()
                ? epochs
                : 0;
}

} // namespace fci
