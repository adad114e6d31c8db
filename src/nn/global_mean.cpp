// Global mean: every position gets the same vector, W mean(x) + b: 'collapses all tokens into a single vector'
// [Basu 2026, Sec. 4.6]. With `residual` a position also keeps its own: x_j + W mean(x) + b.
#include "nn/basic.h"
#include "nn/representation.h"
#include "ops/gather.h"
#include "ops/indices.h"
#include "ops/segment_pool.h"

namespace fci {
namespace {

struct GlobalMean {
    bool residual_;
    Linear linear;

    GlobalMean(ParameterBinder& p, const std::string& name, int d, bool with_residual)
        : residual_(with_residual), linear(p, name + ".linear", d, d) {}

    Tensor operator()(Tape& tape, Tensor x) const {                       // (b,t,d) -> (b,t,d)
        const IntTensor first = cycle(tape, {x.shape[0], x.shape[1]}, 1); // the same row for every position
        const Tensor y = gather(tape, linear(tape, segment_pool(tape, x, 1, Pool::mean)), first);
        return residual_ ? residual(tape, x, y) : y;
    }
};

} // namespace

namespace representation_kinds {
extern const RepresentationKind global_mean{
    .name = "global-mean", .build = [](ParameterBinder& p, const std::string& name, const BlockShape& s) -> Block {
        return {GlobalMean(p, name, s.d, s.mean_residual)};
    }};
} // namespace representation_kinds

} // namespace fci
