#include "study/claims.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/files.h"
#include "core/nearest.h"
#include "study/hotpot_rows.h"
#include "study/layout.h"
#include "study/toml_file.h"

namespace fci {
namespace {

Claim read_claim(const TomlFile& reader, const toml::table& t) {
    Claim c;
    c.line = static_cast<int>(t.source().begin.line);
    for (const auto& [k, node] : t) {
        const std::string key(k.str());
        expect_one_of(fmt::format("{}:{}: [[claim]]", reader.file, node.source().begin.line), key,
                      {"id", "words", "rows", "quantity", "why"});
        if (key == "rows")
            for (const toml::node& row : reader.array(key, node)) c.rows.push_back(reader.text(key, row));
        else {
            std::string& to = key == "id" ? c.id : key == "words" ? c.words : key == "why" ? c.why : c.quantity;
            to = reader.text(key, node);
            if (to.empty() || to.find_first_of("\n|") != std::string::npos)
                reader.refuse(node, "{}: expected one line, without |", key);
        }
    }
    if (c.id.empty() || c.words.empty() || c.rows.empty() || c.why.empty())
        reader.refuse(t, "a [[claim]] needs id, words, rows and why");
    if (!c.quantity.empty())
        expect_one_of(fmt::format("{}:{}: quantity =", reader.file, c.line), c.quantity, quantities());
    return c;
}

// The line of a row at a rate. The line of a row that learns nothing is found at every rate.
const Line* find(const std::vector<Line>& lines, const Row& row, const std::string& quantity, const std::string& rate) {
    for (const Line& l : lines)
        if (l.of.row.base_label() == row.base_label() && !l.paper.empty() &&
            (quantity.empty() || l.quantity == quantity) &&
            (!l.of.learning_rate || rate.empty() || rate_of(l.of) == rate))
            return &l;
    return nullptr;
}

std::string number_text(const Line* l) {
    if (!l || l->ours.ran() == 0) return "-";
    if (l->ours.seeds == 0) return "none";
    return fmt::format("{:.{}f}{}", l->ours.mean, l->quantity == "cosine_gap" ? 3 : 1,
                       l->on && !is_official(*l->on) ? " (a sample)" : "");
}

// "<=2.5 / 25.6"; a text that all rows share is shown once.
std::string cell_text(const std::vector<std::string>& of_rows) {
    const bool same = std::all_of(of_rows.begin(), of_rows.end(), [&](const auto& s) { return s == of_rows[0]; });
    if (same) return of_rows[0] == "-" ? "not run" : of_rows[0];
    return fmt::format("{}", fmt::join(of_rows, " / "));
}

std::vector<Voice> voices_of(const std::vector<const Line*>& lines) {
    std::vector<Voice> voices;
    for (const Line* l : lines) voices.push_back(l ? voice_of(*l) : Voice{});
    return voices;
}

// "3", "0-3": the smallest and the largest number of seeds among the rows.
std::string seeds_text(const std::vector<const Line*>& lines, size_t rows) {
    int fewest = lines.size() < rows ? 0 : 1 << 30, most = 0;
    for (const Line* l : lines) {
        const int seeds = l ? l->ours.ran() : 0;
        fewest = std::min(fewest, seeds), most = std::max(most, seeds);
    }
    return fewest == most ? fmt::format("{}", most) : fmt::format("{}-{}", fewest, most);
}

std::vector<std::string> number_texts(const std::vector<const Line*>& lines, size_t rows) {
    std::vector<std::string> texts;
    for (const Line* l : lines) texts.push_back(number_text(l));
    texts.resize(rows, "-");
    return texts;
}

} // namespace

Claims read_claims(const std::string& toml, const std::string& file) {
    Claims claims;
    claims.file = file;
    const TomlFile reader{file};
    const toml::table doc = parse_toml(toml, file);
    std::set<std::string> ids;
    for (const auto& [k, node] : doc) {
        const std::string key(k.str());
        if (key == "reading")
            claims.reading = reader.text(key, node);
        else if (key == "claim")
            for (const toml::node& t : reader.array("[[claim]]", node)) {
                claims.all.push_back(read_claim(reader, reader.sub_table("claim", t)));
                if (!ids.insert(claims.all.back().id).second)
                    reader.refuse(t, "two claims have the id {}", claims.all.back().id);
            }
        else
            reader.refuse(node, "{}: unknown key, expected reading or [[claim]]", key);
    }
    return claims;
}

std::vector<Row> rows_of(const Claims& claims, const Claim& claim, const Study& study) {
    std::vector<Row> rows;
    try {
        rows = study.select(claim.rows);
    } catch (const Error& e) {
        fail(e.exit, "{}:{}: claim {}: {}", claims.file, claim.line, claim.id, e.what());
    }
    for (const Row& row : rows) {
        const bool has = std::any_of(row.paper.begin(), row.paper.end(), [&](const auto& value) {
            return claim.quantity.empty() || value.first == claim.quantity;
        });
        if (!has)
            fail(Exit::usage, "{}:{}: claim {}: the paper has no {} of the row {}", claims.file, claim.line, claim.id,
                 claim.quantity.empty() ? "number" : claim.quantity, row.label());
    }
    return rows;
}

std::vector<Row> rows_of(const Claims& claims, const Study& study) {
    std::vector<Row> rows;
    std::set<std::string> known;
    for (const Claim& c : claims.all)
        for (Row& r : rows_of(claims, c, study))
            if (known.insert(r.label()).second) rows.push_back(std::move(r));
    return rows;
}

Claims load_claims(const Study& study) {
    const std::string file = study.folder + "/claims.toml";
    if (!std::filesystem::exists(file)) fail(Exit::usage, "{}: no such file, so there are no claims to show", file);
    Claims claims = read_claims(read_file(file), file);
    for (const Claim& c : claims.all) rows_of(claims, c, study);
    return claims;
}

Voice voice_of(const Line& line) {
    Voice v;
    const bool sample = line.on && !is_official(*line.on);
    if (line.ours.ran() == 0 || !line.ours.tested || line.paper.empty() || sample) return v;
    v.ran = true;
    const Verdict verdict = judge(line.quantity, *parse_paper(line.paper), line.ours);
    if (verdict == Verdict::reproduced || verdict == Verdict::at_chance) v.speaks = Speaks::for_it;
    if (verdict == Verdict::differs) v.speaks = Speaks::against;
    if (verdict == Verdict::tie) v.speaks = Speaks::tie;
    v.provisional = !line.on && provisional(verdict, line.ours);
    return v;
}

RolledUp roll_up(const std::vector<std::pair<std::string, std::vector<Voice>>>& at_rates) {
    std::vector<std::pair<std::string, std::vector<std::string>>> does; // outcome, and its rates
    bool is_provisional = false;
    for (const auto& [rate, voices] : at_rates) {
        size_t pro = 0, against = 0, firmly = 0, ties = 0, ran = 0, few = 0;
        for (const Voice& v : voices) {
            pro += v.speaks == Speaks::for_it, ties += v.speaks == Speaks::tie, ran += v.ran, few += v.provisional;
            against += v.speaks == Speaks::against, firmly += v.speaks == Speaks::against && !v.provisional;
        }
        std::string what =
            fmt::format("not yet known ({} of {} row{} run)", ran, voices.size(), voices.size() == 1 ? "" : "s");
        if (against)
            what = "does not hold", is_provisional |= firmly == 0;
        else if (pro + ties == voices.size())
            what = ties ? "holds by a tie" : "holds", is_provisional |= few > 0;
        else if (ran == voices.size())
            what = "inconclusive";
        const auto at = std::find_if(does.begin(), does.end(), [&](const auto& d) { return d.first == what; });
        if (at == does.end())
            does.push_back({what, {rate}});
        else
            at->second.push_back(rate);
    }
    const auto rank = [](const auto& d) { // known outcomes come first
        return d.first.starts_with("holds") ? 0 : d.first == "does not hold" ? 1 : 2;
    };
    std::stable_sort(does.begin(), does.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    const auto at = [](const auto& d) { return fmt::format("{} at {}", d.first, fmt::join(d.second, " and ")); };
    std::vector<std::string> parts;
    for (const auto& d : does) parts.push_back(does.size() == 1 ? d.first : at(d));
    if (does.size() == 2 && rank(does[0]) == 0 && rank(does[1]) == 1) parts = {at(does[0]) + " only"};
    const bool holds = !does.empty() && rank(does[0]) == 0, fails = !does.empty() && rank(does[0]) == 1;
    return {fmt::format("{}", fmt::join(parts, "; ")),
            holds   ? does.size() == 1 ? Holds::yes : Holds::in_part
            : fails ? Holds::no
                    : Holds::unknown,
            is_provisional};
}

std::string Judged::paper_of(size_t row) const {
    for (const auto& [quantity, value] : rows[row].paper)
        if (claim.quantity.empty() || quantity == claim.quantity) return value;
    return "";
}

std::vector<Judged> judge_claims(const Claims& claims, const Study& study, const Scale& scale,
                                 const std::vector<Line>& lines, const std::vector<Line>& under) {
    std::vector<Judged> judged;
    for (const Claim& c : claims.all) {
        Judged j{c, rows_of(claims, c, study), {}, {}, {}, {}, false};
        const auto at = [&](const std::vector<Line>& of, const std::string& rate) {
            std::vector<const Line*> found;
            for (const Row& row : j.rows) found.push_back(find(of, row, c.quantity, rate));
            return found;
        };
        std::vector<std::pair<std::string, std::vector<Voice>>> voices;
        for (const double rate : scale.learning_rates) {
            j.at_rates.push_back(at(lines, rate_text(rate)));
            voices.emplace_back(rate_text(rate), voices_of(j.at_rates.back()));
        }
        j.holds = roll_up(voices);
        if (!claims.reading.empty()) {
            j.under = at(under, "");
            const std::vector<Voice> voices_under = voices_of(j.under);
            j.holds_under = roll_up({{"", voices_under}});
            j.ran_under = std::any_of(voices_under.begin(), voices_under.end(), [](const Voice& v) { return v.ran; });
        }
        judged.push_back(std::move(j));
    }
    return judged;
}

std::string claims_text(const Claims& claims, const Study& study, const Scale& scale, const Results& own,
                        const Results& recorded, const TableOptions& o) {
    const std::vector<Row> rows = rows_of(claims, study);
    const auto lines = [&](const std::vector<Row>& of) { return lines_of(plan(of, scale), own, recorded, o.seeds); };
    const bool read = !claims.reading.empty();
    const std::vector<Line> defaults = lines(rows),
                            under_reading = lines(read ? under(rows, select_readings(study.joint, {claims.reading}))
                                                       : std::vector<Row>{});

    Cells cells{{"claim", "paper"}};
    for (const double rate : scale.learning_rates) cells[0].push_back("ours, " + rate_text(rate));
    for (const char* head : {"ours, best reading", "seeds", "holds?", "why"}) cells[0].push_back(head);
    for (const Judged& j : judge_claims(claims, study, scale, defaults, under_reading)) {
        std::vector<std::string> names, paper;
        for (size_t i = 0; i < j.rows.size(); ++i) {
            const char* quote = o.format == "md" ? "`" : "";
            names.push_back(fmt::format("{0}{1}{0}", quote, j.rows[i].label()));
            paper.push_back(j.paper_of(i));
        }
        cells.push_back({fmt::format("{} ({})", j.claim.words, fmt::join(names, " / ")), cell_text(paper)});
        std::vector<std::string> seeds;
        for (const auto& at : j.at_rates) {
            cells.back().push_back(cell_text(number_texts(at, j.rows.size())));
            seeds.push_back(seeds_text(at, j.rows.size()));
        }
        std::string holds = j.holds.text();
        if (read) {
            cells.back().push_back(cell_text(number_texts(j.under, j.rows.size())));
            seeds.push_back(seeds_text(j.under, j.rows.size()));
            if (j.ran_under) holds += "; best reading: " + j.holds_under.text();
        } else
            cells.back().push_back("none chosen");
        for (const std::string& text : {fmt::format("{}", fmt::join(seeds, ", ")), holds, why(j)})
            cells.back().push_back(text);
    }
    if (is_data(o.format)) return in_format(cells, o.format);
    std::vector<std::string> rates;
    for (const double rate : scale.learning_rates) rates.push_back(rate_text(rate));
    const std::string gone = o.format == "text" ? fit(cells, {"why", "ours, best reading", "seeds"}, o.width) : "";
    return in_format(cells, o.format, o.width) +
           sentences_in(
               gone +
                   fmt::format(
                       "a / b: one number per row, in their order; -: not run; none: no transition; seeds: at {}{}, "
                       "the fewest and the most of any row\n"
                       "best reading: {}\n"
                       "holds: all rows come out as in the paper, or both are at chance; does not hold: a row differs; "
                       "provisional: on fewer than 3 seeds (src/study/claims.h)\n",
                       fmt::join(rates, ", "), read ? " and by the best reading" : "",
                       read ? claims.reading + ", as " + claims.file + " names it" : "none is chosen"),
               o.format, o.width);
}

} // namespace fci
