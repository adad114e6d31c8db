#include "routing/investigator.h"

namespace fci {
namespace {

Router build(ParameterBinder& p, const std::string& name, int d, int heads) {
    const Investigator router(p, name, d, heads);
    return {router, router.wq, router.wk};
}

} // namespace

namespace router_kinds {
extern const RouterKind investigator{.name = "investigator", .build = build, .contrasts = true};
// The Investigator, which scores again after the Council: model/fci.cpp.
extern const RouterKind closed_loop{.name = "closed-loop", .asks_again = true, .build = build};
extern const RouterKind none{.name = "none"}; // head(LN x_q) alone
} // namespace router_kinds

} // namespace fci
