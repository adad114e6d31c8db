// embedding, directly from the equations of ops/embedding.h.
#pragma once
#include "ops/embedding.h"

namespace fci::reference {

template <class T>
void embedding_forward(EmbeddingShape s, const int32_t* id, const T* e, const T* p, T* y) {
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t)
            for (int c = 0; c < s.d; ++c) {
                const int bt = b * s.time + t;
                y[bt * s.d + c] = p ? e[id[bt] * s.d + c] + p[t * s.d + c] : e[id[bt] * s.d + c]; // (1)
            }
}

template <class T>
void embedding_backward(EmbeddingShape s, const int32_t* id, const T* dy, T* de, T* dp) {
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t)
            for (int c = 0; c < s.d; ++c) {
                const int bt = b * s.time + t;
                de[id[bt] * s.d + c] += dy[bt * s.d + c];    // (dE)
                if (dp) dp[t * s.d + c] += dy[bt * s.d + c]; // (dP)
            }
}

} // namespace fci::reference
