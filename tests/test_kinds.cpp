// The registries: every kind can be built and trained, no two are the same, and an unknown name is always refused.
#include <map>
#include <set>

#include "core/json.h"
#include "model/fci.h"
#include "study/estimate.h"
#include "tasks/task.h"
#include "tests/catch.h"
#include "tests/scratch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

Options tiny(const std::string& representation, const std::string& router) {
    Options o;
    o.task.length = 32, o.task.pairs = 4, o.task.vocab = 16;
    o.model.representation = representation, o.model.router = router;
    o.model.d_model = 16, o.model.heads = 2, o.model.top_k = 2;
    o.train.sequences = 16, o.train.test_sequences = 8, o.train.batch = 8, o.train.epochs = 1;
    o.run.threads = 1, o.run.device = "cpu";
    resolve(o);
    return o;
}

std::string toml_of(const TaskOptions& task) {
    Options o;
    o.task = task;
    return write_toml(o);
}

double second_loss(const Options& o) {
    Trainer trainer(make_data(o));
    trainer.step();
    return trainer.step().loss;
}

} // namespace

TEST_CASE("kinds: how long a run takes is estimated for every representation and router", "[kinds]") {
    RunOptions how;
    how.threads = 1, how.device = "cpu";
    const Estimates estimates({}, how);
    for (const RepresentationKind* r : representations())
        for (const RouterKind* k : routers()) {
            if (k->type == RouterKind::text_index || (r->needs_routing && !k->routes())) continue;
            INFO(r->name << ' ' << k->name);
            CHECK(estimates.seconds(tiny(r->name, k->name)) > 0);
        }
}

TEST_CASE("kinds: a run made on a GPU says nothing of how long one on the CPU takes", "[kinds]") {
    RunOptions how;
    how.threads = 1, how.device = "cpu";
    Result r;
    r.options = tiny("raw", "investigator"), r.seconds = 12345;
    for (const auto& [device, counts] : {std::pair("NVIDIA H200", false), {"", true}, {"cpu", true}}) {
        r.provenance = fmt::format(R"({{"device":"{}"}})", device);
        Estimates estimates({}, how);
        estimates.add(r);
        INFO(device);
        CHECK((estimates.seconds(r.options) == 12345) == counts);
    }
}

TEST_CASE("kinds: every representation trains with every router, and no two of them are the same", "[kinds]") {
    std::map<double, std::string> losses; // losses of different models
    size_t pairs = 0, in_model = 0, one_way = 0;
    for (const RouterKind* k : routers()) in_model += k->type == RouterKind::in_model;
    for (const RepresentationKind* r : representations()) one_way += r->needs_routing;
    for (const RepresentationKind* r : representations())
        for (const RouterKind* k : routers()) {
            if (k->type != RouterKind::in_model || (r->needs_routing && !k->routes())) continue;
            const std::string name = std::string(r->name) + " " + k->name;
            const double loss = second_loss(tiny(r->name, k->name));
            ++pairs;
            INFO(name);
            CHECK(std::isfinite(loss));
            // With other kinds the losses may agree: after global-mean all positions are equal for any router.
            if (k->contrasts || std::string(r->name) == "transformer") {
                const auto [same, is_new] = losses.emplace(loss, name);
                INFO("the loss of " << same->second);
                CHECK(is_new);
            }
        }
    CHECK(in_model >= 8);
    CHECK(pairs == representations().size() * in_model - one_way); // one_way: not with router none
    CHECK(losses.size() == representations().size() + in_model - 1);
}

TEST_CASE("kinds: names are unique, and each entry has what its type needs", "[kinds]") {
    std::set<std::string> names;
    for (const RepresentationKind* r : representations()) {
        INFO(r->name);
        CHECK(names.insert(r->name).second);
        CHECK(Mixing(Mixing(r->name).text()).kind == r);
        CHECK(Mixing(r->name).blocks() == (r->build ? 1 : 0));
        CHECK((r->build || !r->number.what));
    }
    for (const RouterKind* k : routers()) {
        INFO(k->name);
        CHECK(names.insert(k->name).second); // representations and routers share no name either
        CHECK(&router_kind(k->name) == k);
        CHECK((k->type == RouterKind::index) == (k->choose != nullptr));
        CHECK((k->type == RouterKind::bandit) == k->rule.has_value());
        CHECK((k->type == RouterKind::in_model || !k->build));
    }
}

TEST_CASE("kinds: an unknown name is an error that names the nearest, never a neighbour", "[kinds]") {
    const auto refused = [](auto f, const std::string& text) { expect_error(error_of(f), Exit::usage, text); };
    ModelOptions o;
    ParameterBinder p;
    for (const RepresentationKind* r : representations()) { // with a letter added: not in any list
        o = {}, o.representation = std::string(r->name) + "z";
        const std::string text = "did you mean '" + std::string(r->name) + "'?";
        refused([&] { Mixing{o.representation}; }, text);
        refused([&] { check_model(o, 16, 32); }, text);
        refused([&] { Model(p, o, 16, 32); }, text);
    }
    for (const RouterKind* k : routers()) {
        o = {}, o.router = std::string(k->name) + "z";
        const std::string text = "did you mean '" + std::string(k->name) + "'?";
        refused([&] { router_kind(o.router); }, text);
        refused([&] { check_model(o, 16, 32); }, text);
        refused([&] { Model(p, o, 16, 32); }, text);
    }
    for (const RouterKind* k : routers()) // a router that is not part of a model must not become one
        if (k->type != RouterKind::in_model) {
            o = {}, o.router = k->name;
            CHECK_THROWS_AS(Model(p, o, 16, 32), Error);
        }
}

TEST_CASE("kinds: every task makes examples by its own options, and refuses those of the others", "[kinds]") {
    std::set<std::string> names;
    Workers workers(1);
    for (const Task* t : tasks()) {
        INFO(t->name);
        CHECK(names.insert(t->name).second);
        TaskOptions o;
        o.task = t->name;
        CHECK(&task_of(o) == t);
        const TaskOptions whole = resolve(o);
        CHECK(whole.length == t->length);
        CHECK(toml_of(canonical(whole)) == toml_of(o));
        const Dataset d = generate(o, 3, 1, Stream::train_data, workers);
        CHECK(d.count == 3);
        CHECK(d.label.empty() == t->is_text);
        CHECK((t->law != nullptr) == (t->law_accuracy && t->accuracy && t->filler_like_the_key && t->paper_chance));
        o.task += "z";
        expect_error(error_of([&] { task_of(o); }), Exit::usage, fmt::format("did you mean '{}'?", t->name));
        expect_error(error_of([&] { resolve(o); }), Exit::usage, fmt::format("did you mean '{}'?", t->name));
    }
    TaskOptions o, start;
    const std::vector<Option> keys = option_table(o);
    for (const Task* t : tasks()) // an option of another task is refused if it is set
        for (const std::string_view key : t->own) {
            if (key.empty()) continue;
            INFO(t->name << " " << key);
            REQUIRE(find_option(keys, std::string(key)));
            for (const Task* other : tasks()) {
                if (std::find(other->own.begin(), other->own.end(), key) != other->own.end()) continue;
                TaskOptions set;
                set.task = other->name;
                const std::vector<Option> all = option_table(set);
                const Option& option = *find_option(all, std::string(key));
                const double low = option.low;
                if (std::holds_alternative<std::string*>(option.value))
                    option.assign(OptionValue(option.allowed[option.allowed[0] == option.word()]));
                else if (std::holds_alternative<bool*>(option.value))
                    option.assign(OptionValue(true));
                else
                    option.assign(OptionValue(static_cast<int64_t>(low) + 1));
                expect_error(error_of([&] { resolve(set); }), Exit::usage, option.flag() + " " + option.word());
                expect_error(error_of([&] { resolve(set); }), Exit::usage, " belongs to --task ");
                expect_error(error_of([&] { resolve(set); }), Exit::usage, t->name);
            }
        }
}

TEST_CASE("options: text, TOML and JSON set the same, by either way to write a key, with the same limits", "[kinds]") {
    Options a, b;
    a.task.pairs = 7, a.task.query_row = "marker", a.task.random_non_queries = true, a.train.weight_decay = 1e-5;
    a.train.seed = int64_t{1} << 40, a.train.data = "a \"folder\"\n", a.model.top_k = 9, a.run.quiet = true;
    read_toml(b, write_toml(a, true), "file");
    CHECK(write_toml(b, true) == write_toml(a, true));
    Options c;
    const std::vector<Option> from = table(a), to = table(c);
    for (size_t i = 0; i < from.size(); ++i)
        if (!from[i].word().empty()) set_from_text(to[i], from[i].word());
    CHECK(write_toml(c, true) == write_toml(a, true));
    for (const Option& o : to) {
        INFO(o.key);
        CHECK(find_option(to, o.key) == &o);
        CHECK(find_option(to, o.flag().substr(2)) == &o);
        if (std::holds_alternative<bool*>(o.value) || std::holds_alternative<std::string*>(o.value)) continue;
        const std::string above = fmt::format("{:.0f}", o.high + std::max(1.0, o.high * 1e-9));
        if (o.high < 1e15) {
            expect_error(error_of([&] { set_from_text(o, above); }), Exit::usage, o.flag() + " " + above);
            expect_error(error_of([&] { read_toml(c, o.key + " = " + above, "f"); }), Exit::usage, "f:1: " + o.key);
        }
        const std::string below = fmt::format("{:.0f}", std::min(-1.0, o.low - 1));
        expect_error(error_of([&] { set_from_text(o, below); }), Exit::usage,
                     o.flag() + " " + below + ": must be from");
        expect_error(error_of([&] { read_toml(c, o.key + " = " + below, "f"); }), Exit::usage,
                     o.key + ": must be from");
    }
}

TEST_CASE("json: members, arrays, numbers that are none, and what is escaped", "[kinds]") {
    Json j = Json::object(), none = Json::object();
    j.add("a\"b", "x\n\\").add("n", -3).add("x", 0.1).add("inf", 1.0 / 0.0).add("yes", true).merge(none);
    j.add("list", Json::array().push(1).push(Json::array())).add("none", none).add("no", std::optional<double>());
    j.merge(Json::object().add("more", Json::number("{:.2f}", 1.0)));
    CHECK(j.text() == R"({"a\"b":"x\u000a\\","n":-3,"x":0.1,"inf":null,"yes":true,"list":[1,[]],"none":{},"no":null,)"
                      R"("more":1.00})");
    CHECK(json_quote("\x01\t\xff") == "\"\\u0001\\u0009?\"");
    CHECK(json_quote("\x01\t\u00fc", true) == "\"\\u0001\\t\u00fc\"");
    CHECK(Json::object(1).add("a", 1).add("b", Json::object(2).add("c", 2)).text() ==
          "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}");
}
