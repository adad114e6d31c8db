// The paper's figures and tables, and the rows of each.
#include <algorithm>
#include <set>

#include "report/gather.h"
#include "routing/router.h"
#include "study/hotpot_rows.h"

namespace fci {
namespace {

struct Known {
    const char *title, *caption;
    std::vector<std::string> groups; // files of runs/
    bool by_family;                  // false: by quantity
};

const std::vector<Known>& known_sections() {
    static const std::vector<Known> all{
        {"Figure 3. Inside the router",
         "What one trained layer of attention holds: the cosine of query and answer minus "
         "that of random pairs, routing by random projections, and the energy of WqᵀWk.",
         {"figure3"},
         false},
        {"Figure 4 and Table 3. The landscape",
         "Every mechanism of the paper, sorted by its kind, then by the paper's "
         "number. Grey names have no run yet; the box shows what the paper reports.",
         {"figure4", "table3"},
         true},
        {"Figure 5. Contrastive pretraining",
         "The router of raw embeddings, pretrained by InfoNCE.",
         {"figure5"},
         false},
        {"Table 1 and Figure 6. Beyond the synthetic task",
         "Associative recall (MQAR) and BM25 on HotpotQA.",
         {"table1"},
         false},
        {"Table 2. Routing and the rank of the scores",
         "Ranks on a logarithmic axis. A box is the paper's number, 25% to "
         "each side for a rank.",
         {"table2"},
         false},
    };
    return all;
}

// In the order in which they are shown.
const char* const families[] = {"Something mixes the tokens, then every position is compared",
                                "Nothing mixes; every position is compared",
                                "Segments of a sixteenth",
                                "No comparison of positions",
                                "Frozen pretrained models",
                                "An index, nothing learned"};

size_t family_of(const Row& row) {
    const std::string& router = row.router;
    if (row.settings.values.model.has_backbone() || row.needs == "weights") return 4;
    const auto type = row.measured == Measured::by_index ? RouterKind::text_index : router_kind(router).type;
    if (type == RouterKind::text_index || type == RouterKind::index) return 5;
    if (router.starts_with("segment-")) return 2;
    if (router == "memory-bank" || router == "none" || type == RouterKind::bandit) return 3;
    return row.representation == "raw" || row.representation == "content-only" ? 1 : 0;
}

double middle(const std::string& paper) {
    const auto p = parse_paper(paper);
    if (!p) return -1;
    if (!std::isfinite(p->low)) return p->high / 2;
    return std::isfinite(p->high) ? (p->low + p->high) / 2 : p->low;
}

// The quantities of a row, as in its lines.
std::vector<std::string> quantities_of(const Page& p, const Row& row) {
    std::vector<std::string> found;
    for (const Line& l : p.lines)
        if (l.of.row.label() == row.label() && !std::count(found.begin(), found.end(), l.quantity))
            if (!l.paper.empty() || (row.paper.empty() && l.quantity != "all")) found.push_back(l.quantity);
    return found;
}

const char* quantity_title(const std::string& quantity) {
    static const std::pair<const char*, const char*> of[] = {{"routing", "Routing, %"},
                                                             {"accuracy", "Right answers, %"},
                                                             {"transition_epoch", "Epoch of the transition"},
                                                             {"rank", "Effective rank of the scores"},
                                                             {"cosine_gap", "Cosine gap"},
                                                             {"energy90_dims", "Dimensions with 90% of the energy"}};
    for (const auto& [key, title] : of)
        if (quantity == key) return title;
    return "";
}

Section section_of(const Page& p, const std::string& title, const std::string& caption, const std::vector<Row>& rows,
                   bool by_family) {
    Section s{title, caption, {}};
    std::set<std::string> known; // shows a mechanism once if two rows have it with the same number of the paper
    const auto add = [&](Group& group, const Row& row, const std::string& quantity) {
        Mechanism m = mechanism_of(p, row, quantity);
        const std::string key = fmt::format("{} {} {}", m.name, quantity, m.paper);
        if (!by_family || known.insert(key).second) group.of.push_back(std::move(m));
    };
    if (by_family) {
        for (size_t f = 0; f < std::size(families); ++f) {
            Group group{families[f], {}};
            for (const Row& row : rows)
                if (family_of(row) == f) add(group, row, "routing");
            std::stable_sort(group.of.begin(), group.of.end(),
                             [](const auto& a, const auto& b) { return middle(a.paper) > middle(b.paper); });
            if (!group.of.empty()) s.groups.push_back(std::move(group));
        }
    } else
        for (const std::string& quantity : quantities()) {
            Group group{quantity_title(quantity), {}};
            for (const Row& row : rows) {
                const auto its = quantities_of(p, row);
                if (std::count(its.begin(), its.end(), quantity)) add(group, row, quantity);
            }
            if (!group.of.empty()) s.groups.push_back(std::move(group));
        }
    return s;
}

void gather_panels(Page& p, const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        if (row.group != "figure2") continue;
        Panel panel{mechanism_of(p, row, "routing"), {}, ""};
        for (const Line* l : panel.of.at)
            if (const auto s = series_of(p, l->of)) panel.series.push_back(*s);
        for (const auto& [quantity, value] : row.paper)
            if (quantity == "transition_epoch") panel.jump = value;
        if (panel.series.empty())
            p.no_panel.push_back(panel.of.name);
        else
            p.panels.push_back(std::move(panel));
    }
}

} // namespace

Mechanism mechanism_of(const Page& p, const Row& row, const std::string& quantity) {
    Mechanism m{row, mechanism_name(row, quantity), quantity, "", {}, nullptr, {}};
    for (const auto& [name, value] : row.paper)
        if (name == quantity) m.paper = value;
    const auto lines = [&](const std::vector<Line>& of) {
        std::vector<const Line*> found; // one per rate: a line on the paper's file before others
        for (const Line& l : of)
            if (l.of.row.base_label() == row.base_label() && l.quantity == quantity && l.paper == m.paper)
                found.push_back(&l);
        return found;
    };
    m.at = lines(p.lines);
    for (const Line* l : lines(p.under))
        if (counts(l) && row.needs.empty()) m.under = l;
    return m;
}

void gather_sections(Page& p, const std::vector<Row>& rows) {
    gather_panels(p, rows);
    std::set<std::string> shown{"figure2"};
    for (const Known& k : known_sections()) {
        std::vector<Row> its;
        for (const Row& row : rows)
            if (std::count(k.groups.begin(), k.groups.end(), row.group) && !row.foreign) its.push_back(row);
        shown.insert(k.groups.begin(), k.groups.end());
        if (!its.empty()) p.sections.push_back(section_of(p, k.title, k.caption, its, k.by_family));
    }
    std::vector<Row> others; // the user's own rows; the paper's other rows only have folds
    for (const Row& row : rows)
        if (row.foreign || row.paper.empty()) others.push_back(row);
    if (!others.empty())
        p.sections.push_back(section_of(p, "Other rows", "Rows that are not in the paper.", others, false));
}

} // namespace fci
