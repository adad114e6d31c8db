// The registries: every kind can be built and trained, no two are the same, and an unknown name never becomes one.
#include <map>
#include <set>

#include "model/fci.h"
#include "tests/catch.h"
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

double second_loss(const Options& o) {
    Trainer trainer(make_data(o));
    trainer.step();
    return trainer.step().loss;
}

} // namespace

TEST_CASE("kinds: every representation trains with every router, and no two of them are the same", "[kinds]") {
    std::map<double, std::string> losses; // of different models
    int pairs = 0;
    for (const RepresentationKind* r : representations())
        for (const RouterKind* k : routers()) {
            if (k->type != RouterKind::in_model || (r->needs_routing && !k->routes())) continue;
            const std::string name = std::string(r->name) + " " + k->name;
            const double loss = second_loss(tiny(r->name, k->name));
            ++pairs;
            INFO(name);
            CHECK(std::isfinite(loss));
            // With others they may agree: after global-mean all positions are alike, whatever looks at them.
            if (k->contrasts || std::string(r->name) == "transformer") {
                const auto [same, is_new] = losses.emplace(loss, name);
                INFO("the loss of " << same->second);
                CHECK(is_new);
            }
        }
    CHECK(pairs == static_cast<int>(representations().size()) * 8 - 1);
    CHECK(losses.size() == representations().size() + 7);
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
        CHECK(names.insert(k->name).second); // no representation is called like a router either
        CHECK(&router_kind(k->name) == k);
        CHECK((k->type == RouterKind::index) == (k->choose != nullptr));
        CHECK((k->type == RouterKind::bandit) == k->rule.has_value());
        CHECK((k->type == RouterKind::in_model || !k->build));
    }
}

TEST_CASE("kinds: an unknown name is an error that names the nearest, never a neighbour", "[kinds]") {
    const auto refused = [](auto f, const std::string& text) {
        try {
            f();
        } catch (const Error& e) {
            CHECK(e.exit == Exit::usage);
            CHECK(std::string(e.what()).find(text) != std::string::npos);
            return;
        }
        FAIL("not refused: " << text);
    };
    ModelOptions o;
    ParameterBinder p;
    for (const RepresentationKind* r : representations()) { // one letter more, as a kind that is listed nowhere
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
    for (const RouterKind* k : routers()) // nor does a router that is no part of a model become one
        if (k->type != RouterKind::in_model) {
            o = {}, o.router = k->name;
            CHECK_THROWS_AS(Model(p, o, 16, 32), Error);
        }
}
