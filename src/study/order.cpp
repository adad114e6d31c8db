#include "study/order.h"

#include <filesystem>

#include "core/files.h"
#include "core/nearest.h"
#include "study/toml_file.h"

namespace fci {
namespace {

struct Reader : TomlFile {
    std::vector<std::string> texts(const std::string& key, const toml::node& node) const {
        std::vector<std::string> all;
        for (const toml::node& x : array(key, node)) all.push_back(text(key, x));
        if (all.empty()) refuse(node, "{}: expected at least one", key);
        return all;
    }

    OrderEntry entry(const toml::table& t) const {
        OrderEntry e;
        e.line = static_cast<int>(t.source().begin.line);
        for (const auto& [k, node] : t) {
            const std::string key(k.str());
            expect_one_of(fmt::format("{}:{}: [[entry]]", file, node.source().begin.line), key,
                          {"what", "rows", "reading", "seeds", "learning_rates", "stop_after", "again"}, Exit::usage);
            if (key == "what") e.what = text(key, node);
            if (key == "rows") e.rows = texts(key, node);
            if (key == "reading") {
                e.readings = texts(key, node);
                e.survivors = e.readings == std::vector<std::string>{"survivors"};
            }
            if (key == "seeds")
                for (const toml::node& x : array(key, node)) {
                    e.seeds.push_back(x.is_integer() ? x.value<int64_t>().value() : 0);
                    if (e.seeds.back() < 1) refuse(x, "seeds: expected integers from 1");
                }
            if (key == "learning_rates")
                for (const toml::node& x : array(key, node)) {
                    if (!x.is_number()) refuse(x, "learning_rates: expected numbers");
                    e.learning_rates.push_back(x.value<double>().value());
                }
            if (key == "stop_after") {
                e.stop_after = node.is_integer() ? node.value<int>().value_or(0) : 0;
                if (e.stop_after < 1) refuse(node, "stop_after: expected a number of epochs");
            }
            if (key == "again") {
                if (!node.is_boolean()) refuse(node, "again: expected true or false");
                e.again = node.value<bool>().value();
            }
        }
        if (e.what.empty() || e.rows.empty() || e.seeds.empty()) refuse(t, "an [[entry]] needs what, rows and seeds");
        return e;
    }
};

PlannedEntry planned(const OrderEntry& e, const Study& study, const std::string& scale,
                     const std::vector<Reading>& survivors) {
    std::vector<Row> rows = study.select(e.rows);
    if (!e.readings.empty()) rows = under(rows, e.survivors ? survivors : select_readings(study.joint, e.readings));
    std::vector<Case> cases = plan(rows, study.scale(scale));
    std::erase_if(cases, [&](const Case& c) {
        const auto& rates = e.learning_rates;
        return c.learning_rate && !rates.empty() &&
               std::find(rates.begin(), rates.end(), *c.learning_rate) == rates.end();
    });
    std::vector<PlannedRun> runs = runs_of(cases, e.seeds);
    for (PlannedRun& r : runs) r.again = e.again;
    if (e.stop_after) stop_after(runs, e.stop_after);
    const bool has_row = std::any_of(rows.begin(), rows.end(), [](const Row& r) { return r.needs.empty(); });
    if (runs.empty() && !rows.empty() && !has_row) return {e.what + ": needs " + rows[0].needs, runs};
    if (runs.empty() && !e.survivors) fail(Exit::usage, "no row of this entry runs at scale {}", scale);
    return {e.what, runs};
}

} // namespace

Order read_order(const std::string& toml, const std::string& file) {
    Order order{file, "", {}};
    const Reader reader{{file}};
    const toml::table doc = parse_toml(toml, file);
    for (const auto& [k, node] : doc) {
        const std::string key(k.str());
        if (key == "scale")
            order.scale = reader.text(key, node);
        else if (key == "entry")
            for (const toml::node& t : reader.array("[[entry]]", node))
                order.entries.push_back(reader.entry(reader.sub_table("entry", t)));
        else
            reader.refuse(node, "{}: unknown key, expected scale or [[entry]]", key);
    }
    if (order.scale.empty()) fail(Exit::usage, "{}: scale = \"...\" is missing", file);
    return order;
}

Order load_order(const Study& study) {
    const std::string file = study.folder + "/order.toml";
    if (!std::filesystem::exists(file)) fail(Exit::usage, "{}: no such file; it lists what to run next", file);
    return read_order(read_file(file), file);
}

std::vector<PlannedEntry> runs_of(const Order& order, const Study& study, const std::vector<Reading>& survivors) {
    std::vector<PlannedEntry> entries;
    for (const OrderEntry& e : order.entries) {
        const std::string at = fmt::format("{}:{}: ", order.file, e.line);
        try {
            entries.push_back(planned(e, study, order.scale, survivors));
        } catch (const Error& error) {
            fail(error.exit, "{}{}", at, error.what());
        }
    }
    return entries;
}

std::vector<Order> parts_of(const Order& order) {
    std::vector<Order> parts;
    for (const OrderEntry& e : order.entries) {
        if (parts.empty() || e.survivors) parts.push_back({order.file, order.scale, {}});
        parts.back().entries.push_back(e);
    }
    return parts;
}

} // namespace fci
