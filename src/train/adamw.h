// The optimiser: AdamW, the one-cycle schedule, clipping by the global norm. Each is one pass over
// the flat block, cut into fixed slices, so that the bits do not depend on the number of workers.
//
// AdamW  [Loshchilov & Hutter 2019], as torch.optim.AdamW computes it, step s from 1:
//   p <- p (1 - lr wd);   m <- b1 m + (1-b1) g;   v <- b2 v + (1-b2) g^2
//   p <- p - lr / (1 - b1^s) m / (sqrt(v) / sqrt(1 - b2^s) + eps)
// OneCycle  [Smith & Topin 2018], as torch.optim.lr_scheduler.OneCycleLR: over n steps the rate rises from
//   max/25 to max until step 0.3 n - 1, then falls to max/25/1e4 at step n - 1, both along half a cosine;
//   b1 goes 0.95 -> 0.85 -> 0.95 at the same time. From step n on (--added-epochs) both stay as at step 0: the last
//   rate moves next to nothing, and the highest would undo what the fall has settled.
#pragma once
#include <vector>

#include "core/scalar.h"
#include "core/workers.h"

namespace fci {

struct OneCycle {
    double max_rate;
    int64_t steps;
    struct Point {
        double rate, beta1;
    };
    Point at(int64_t step) const; // step from 0
};

// The factors of the update of step s, the same for all parameters and on every device.
struct AdamWRates {
    float decay, step_size, b1, c1, b2, c2, root2, eps;
};
FCI_HD void adamw_update(const AdamWRates& r, float g, float& p, float& m, float& v) {
    m = r.b1 * m + r.c1 * g;
    v = r.b2 * v + r.c2 * g * g;
    p = p * r.decay - r.step_size * m / (sqrtf(v) / r.root2 + r.eps);
}

struct AdamW {
    double weight_decay = 0.01, beta2 = 0.999, eps = 1e-8;
    std::vector<float> m, v;

    explicit AdamW(int64_t size) : m(size, 0.f), v(size, 0.f) {}

    AdamWRates rates(int64_t s, OneCycle::Point at) const; // s from 1

    // One step, s from 1. grad is first multiplied by `factor` (clipping).
    void step(int64_t s, OneCycle::Point at, float factor, const float* grad, float* parameters, Workers&);
};

inline constexpr int64_t slice = 16384; // floats; a fixed cut of the flat block
inline int slices(int64_t size) { return static_cast<int>((size + slice - 1) / slice); }

// grads[0] += grads[1] + ... in this order, and the global norm sqrt(sum g^2): squares are added in double within
// a slice, then slice by slice. `partial` holds one double a slice.
double sum_and_norm(const std::vector<float*>& grads, int64_t size, std::vector<double>& partial, Workers&);

// min(1, clip / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; clip 0: no clipping
float clip_factor(double norm, double clip);

} // namespace fci
