#include "nn/mamba.h"

#include "nn/representation.h"

namespace fci {
namespace {

template <bool bidirectional>
Block build(ParameterBinder& p, const std::string& name, const BlockShape& s) {
    return {FlowBlock(p, name, s.d, bidirectional)};
}

} // namespace

namespace representation_kinds {
extern const RepresentationKind flow{.name = "flow", .number = layers, .build = build<false>};
extern const RepresentationKind bidir_flow{.name = "bidir-flow", .number = layers, .build = build<true>};
} // namespace representation_kinds

} // namespace fci
