#include "train/work.h"
#include "nn/mamba.h"
#include "nn/representation.h"
#include "ops/sparse_attention.h"

#include <algorithm>
#include <cmath>

namespace fci {

double sequence_gflop(const Options& o) {
    const double L = o.task.length, d = o.model.d_model, d2 = d * d, inner = Mamba::expand * d, n = Mamba::state;
    const double rank = std::max(1.0, std::floor(d / 16)), rows = o.task.queries == "many" ? o.task.pairs : 1,
                 m = 2.0 * o.model.top_k;
    const Mixing r(o.model.representation);
    const std::string kind = r.kind->name;
    const double hubs = r.number, heads = o.model.heads, near = SparseShape::rows + 2 * SparseShape::reach - 1;
    const auto attention = [&](double pairs, int products = 7) { // and linear layers
        return 6 * 12 * d2 * L + products * 2 * pairs * d;
    };
    const double mamba =
        6 * L * inner * (2 * d + rank + 2 * n + rank + d + Mamba::conv_width) + L * inner * n * (6 + 20 + 2 * 18);
    const double block =
        kind == "transformer"          ? attention(L * L)
        : kind == "causal-transformer" ? attention(L * (L + 1) / 2)
        : kind == "sparse-transformer" ? attention(L * (near + std::min(L, 1. * SparseShape::most_globals)))
        : kind == "linear-attention"   ? attention(L * d / heads, 6)
        : kind == "rank1-attention"    ? 6 * (10 * d2 + 2 * heads * d) * L + 2 * L * L * (3 * d + 4 * heads)
        : kind == "perceiver"          ? attention(2 * L * hubs) + 6 * 3 * d2 * hubs
        : kind == "budgeted-attention" ? r.number * attention(r.number * L * L) + 4 * L * d2
        : kind == "global-mean"        ? 6 * d2
        : kind == "fourier"            ? 6 * 8 * d2 * L + 2 * (4 * L * d2 + 2 * L * L * d)
        : kind == "flow"               ? mamba
                                       : 2 * mamba;
    const double council = 6 * rows * (10 * d2 + m * 2 * d2) + 7 * 2 * rows * m * d;
    return 1e-9 * (r.blocks() * block + 6 * rows * (2 * d2 + L * d) + council + 6 * rows * d * o.task.vocab);
}

} // namespace fci
