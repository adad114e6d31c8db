// set_cross_entropy, directly from the equations of ops/set_cross_entropy.h.
#pragma once
#include <cmath>

#include "ops/set_cross_entropy.h"
#include "tests/reference/cross_entropy.h"

namespace fci::reference {

template <class T>
void set_cross_entropy_forward(SetCrossEntropyShape s, const T* z, const int32_t* begin, const int32_t* target, T* loss,
                               T* lse, T* held) {
    using std::exp, std::log;
    for (int r = 0; r < s.rows; ++r) {
        const T* row = z + r * s.classes;
        const LogSum<T> all = log_sum_exp(s.classes, row); // (1)
        T highest_held = row[target[begin[r]]], sum_held = 0;
        for (int i = begin[r]; i < begin[r + 1]; ++i)
            highest_held = row[target[i]] > highest_held ? row[target[i]] : highest_held;
        for (int i = begin[r]; i < begin[r + 1]; ++i) sum_held += exp(row[target[i]] - highest_held);
        const auto of_set = LogSum<T>::of(highest_held, log(sum_held)); // (2)
        loss[r] = all.minus(of_set);                                    // (3)
        all.save(lse, r);
        of_set.save(held, r);
    }
}

template <class T>
void set_cross_entropy_backward(SetCrossEntropyShape s, const T* z, const int32_t* begin, const int32_t* target,
                                const T* lse, const T* held, const T* dloss, T* dz) {
    using std::exp;
    for (int r = 0; r < s.rows; ++r)
        for (int c = 0; c < s.classes; ++c) {
            const T x = z[r * s.classes + c];
            bool in_set = false;
            for (int i = begin[r]; i < begin[r + 1]; ++i) in_set |= target[i] == c;
            dz[r * s.classes + c] += dloss[r] * (exp(LogSum<T>::load(lse, r).share(x)) -
                                                 (in_set ? exp(LogSum<T>::load(held, r).share(x)) : T(0))); // (dz)
        }
}

} // namespace fci::reference
