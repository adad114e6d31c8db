#include "train/work.h"

#include <algorithm>
#include <cmath>

namespace fci {

double sequence_gflop(const Options& o) {
    const double L = o.task.length, d = o.model.d_model, d2 = d * d, inner = Mamba::expand * d, n = Mamba::state;
    const double rank = std::max(1.0, std::floor(d / 16)), rows = o.task.queries == "many" ? o.task.pairs : 1,
                 m = 2.0 * o.model.top_k;
    const RepresentationKind r = parse_representation(o.model.representation);
    const double hubs = r.hubs, heads = o.model.heads, near = SparseShape::rows + 2 * SparseShape::reach - 1;
    const auto attention = [&](double pairs, int products = 7) { // and linear layers
        return 6 * 12 * d2 * L + products * 2 * pairs * d;
    };
    const double mamba =
        6 * L * inner * (2 * d + rank + 2 * n + rank + d + Mamba::conv_width) + L * inner * n * (6 + 20 + 2 * 18);
    const double block =
        r.kind == "transformer"          ? attention(L * L)
        : r.kind == "causal-transformer" ? attention(L * (L + 1) / 2)
        : r.kind == "sparse-transformer" ? attention(L * (near + std::min(L, 1. * SparseShape::most_globals)))
        : r.kind == "linear-attention"   ? attention(L * d / heads, 6)
        : r.kind == "rank1-attention"    ? 6 * (10 * d2 + 2 * heads * d) * L + 2 * L * L * (3 * d + 4 * heads)
        : r.kind == "perceiver"          ? attention(2 * L * hubs) + 6 * 3 * d2 * hubs
        : r.kind == "budgeted-attention" ? r.budget * attention(r.budget * L * L) + 4 * L * d2
        : r.kind == "global-mean"        ? 6 * d2
        : r.kind == "fourier"            ? 6 * 8 * d2 * L + 2 * (4 * L * d2 + 2 * L * L * d)
        : r.kind == "flow"               ? mamba
                                         : 2 * mamba;
    const double council = 6 * rows * (10 * d2 + m * 2 * d2) + 7 * 2 * rows * m * d;
    return 1e-9 * (r.layers * block + 6 * rows * (2 * d2 + L * d) + council + 6 * rows * d * o.task.vocab);
}

} // namespace fci
