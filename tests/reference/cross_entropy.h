// cross_entropy, directly from the equations of ops/cross_entropy.h.
#pragma once
#include <cmath>

#include "ops/cross_entropy.h"

namespace fci::reference {

// ln sum_c exp(row[c]); the maximum is subtracted before exp, which would overflow
template <class T>
LogSum<T> log_sum_exp(int n, const T* row) {
    using std::exp, std::log;
    T highest = row[0], sum = 0;
    for (int c = 1; c < n; ++c) highest = row[c] > highest ? row[c] : highest;
    for (int c = 0; c < n; ++c) sum += exp(row[c] - highest);
    return LogSum<T>::of(highest, log(sum));
}

template <class T>
void cross_entropy_forward(CrossEntropyShape s, const T* z, const int32_t* target, T* loss, T* lse) {
    for (int r = 0; r < s.rows; ++r) {
        const T* row = z + r * s.classes;
        const LogSum<T> l = log_sum_exp(s.classes, row); // (1)
        l.save(lse, r);
        loss[r] = l.minus(LogSum<T>::of(row[target[r]], 0)); // (2)
    }
}

template <class T>
void cross_entropy_backward(CrossEntropyShape s, const T* z, const int32_t* target, const T* lse, const T* dloss,
                            T* dz) {
    using std::exp;
    for (int r = 0; r < s.rows; ++r)
        for (int c = 0; c < s.classes; ++c)
            dz[r * s.classes + c] += dloss[r] * (exp(LogSum<T>::load(lse, r).share(z[r * s.classes + c])) -
                                                 (c == target[r] ? T(1) : T(0))); // (dz)
}

} // namespace fci::reference
