// Segment routers score 16 segments of equal length instead of positions; the best k segments are chosen, and the
// Council sees all of their positions  [Basu 2026, Sec. 4.3]
//   mean, max   s[q,i] = scale (Wq x_q).(Wk pool_i),  pool_i the mean or maximum of x over segment i
//   linear      s[q,i] = scale phi(Wq x_q).sum_(j in i) phi(Wk x_j),  phi = elu + 1: linear attention's scores, summed
// with the Investigator's scale 1/(H sqrt(d/H)). The routing loss is the cross-entropy over the 16 segments.
#include "ops/dot_scores.h"
#include "ops/indices.h"
#include "ops/segment_pool.h"
#include "routing/investigator.h"

namespace fci {
namespace {

enum class Kind { mean, max, linear };

struct SegmentRouter {
    Kind kind;
    Investigator inner;

    SegmentRouter(ParameterBinder& p, const std::string& name, int d, int heads, Kind which)
        : kind(which), inner(p, name, d, heads) {}

    Routed operator()(Tape& tape, Tensor x, Tensor xq, IntTensor, int k) const {
        const Tensor s =
            kind == Kind::linear
                ? linear_scores(tape, x, xq)
                : inner.scores(tape, xq,
                               segment_pool(tape, x, segment_count, kind == Kind::mean ? Pool::mean : Pool::max));
        const IntTensor chosen = top_k(tape, s, k);
        return {s, chosen, expand_places(tape, chosen, x.shape[1] / segment_count)};
    }

private:
    Tensor linear_scores(Tape& tape, Tensor x, Tensor xq) const {
        const RoutingShape shape{x.shape[0], segment_count, xq.shape[1], x.shape[2], inner.heads};
        const Tensor key =
            segment_pool(tape, elu_plus_one(tape, linear(tape, x, inner.wk, {})), segment_count, Pool::sum);
        return dot_scores(tape, elu_plus_one(tape, linear(tape, xq, inner.wq, {})), key, shape.scale());
    }
};

template <Kind kind>
Router build(ParameterBinder& p, const std::string& name, int d, int heads) {
    return {SegmentRouter(p, name, d, heads, kind)};
}

} // namespace

namespace router_kinds {
extern const RouterKind segment_mean{.name = "segment-mean", .by_segment = true, .build = build<Kind::mean>};
extern const RouterKind segment_max{.name = "segment-max", .by_segment = true, .build = build<Kind::max>};
extern const RouterKind segment_linear{.name = "segment-linear", .by_segment = true, .build = build<Kind::linear>};
} // namespace router_kinds

} // namespace fci
