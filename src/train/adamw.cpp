#include "train/adamw.h"

#include <algorithm>
#include <cmath>

namespace fci {

OneCycle::Point OneCycle::at(int64_t step) const {
    const double start = max_rate / 25, last = start / 1e4, high = 0.95, low = 0.85;
    if (step >= steps) return {start, high};
    const double turn = 0.3 * static_cast<double>(steps) - 1, end = static_cast<double>(steps) - 1;
    const auto between = [](double from, double to, double part) {
        return to + (from - to) / 2 * (1 + std::cos(M_PI * part));
    };
    const double s = static_cast<double>(step);
    if (s < turn) return {between(start, max_rate, s / turn), between(high, low, s / turn)};
    const double part = end > turn ? (s - turn) / (end - turn) : 1;
    return {between(max_rate, last, part), between(low, high, part)};
}

AdamWRates AdamW::rates(int64_t s, OneCycle::Point at) const {
    const double correction1 = 1 - std::pow(at.beta1, static_cast<double>(s));
    const double correction2 = 1 - std::pow(beta2, static_cast<double>(s));
    return {static_cast<float>(1 - at.rate * weight_decay),
            static_cast<float>(at.rate / correction1),
            static_cast<float>(at.beta1),
            static_cast<float>(1 - at.beta1),
            static_cast<float>(beta2),
            static_cast<float>(1 - beta2),
            static_cast<float>(std::sqrt(correction2)),
            static_cast<float>(eps)};
}

void AdamW::step(int64_t s, OneCycle::Point at, float factor, const float* grad, float* parameters, Workers& workers) {
    const AdamWRates r = rates(s, at);
    const int64_t size = static_cast<int64_t>(m.size());
    workers.run(slices(size), [&](int i, int) {
        const int64_t end = std::min(size, (i + 1) * slice);
        float *ms = m.data(), *vs = v.data();
#pragma omp simd
        for (int64_t j = i * slice; j < end; ++j) adamw_update(r, grad[j] * factor, parameters[j], ms[j], vs[j]);
    });
}

double sum_and_norm(const std::vector<float*>& grads, int64_t size, std::vector<double>& partial, Workers& workers) {
    workers.run(slices(size), [&](int i, int) {
        const int64_t begin = i * slice, end = std::min(size, begin + slice);
        float* total = grads[0];
        for (size_t g = 1; g < grads.size(); ++g)
            for (int64_t j = begin; j < end; ++j) total[j] += grads[g][j];
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t j = begin; j < end; ++j) squares += static_cast<double>(total[j]) * total[j];
        partial[i] = squares;
    });
    double sum = 0;
    for (int i = 0; i < slices(size); ++i) sum += partial[i];
    return std::sqrt(sum);
}

float clip_factor(double norm, double clip) {
    return clip > 0 ? static_cast<float>(std::min(1.0, clip / (norm + 1e-6))) : 1.f;
}

} // namespace fci
