#include "ops/embedding.h"

namespace fci {
namespace cpu {

void embedding_forward(EmbeddingShape s, const int32_t* id, const float* e, const float* p, float* y) {
    for (int64_t bt = 0; bt < int64_t{s.batch} * s.time; ++bt) {
        const float *token = e + int64_t{id[bt]} * s.d, *position = p ? p + bt % s.time * s.d : nullptr;
        for (int c = 0; c < s.d; ++c) y[bt * s.d + c] = token[c] + (position ? position[c] : 0.f); // (1)
    }
}

void embedding_backward(EmbeddingShape s, const int32_t* id, const float* dy, float* de, float* dp) {
    for (int64_t bt = 0; bt < int64_t{s.batch} * s.time; ++bt) {
        float *token = de + int64_t{id[bt]} * s.d, *position = dp ? dp + bt % s.time * s.d : nullptr;
        for (int c = 0; c < s.d; ++c) token[c] += dy[bt * s.d + c]; // (dE)
        if (position)
            for (int c = 0; c < s.d; ++c) position[c] += dy[bt * s.d + c]; // (dP)
    }
}

} // namespace cpu

Tensor embedding(Tape& tape, IntTensor id, Tensor token, Tensor position) {
    const EmbeddingShape s{id.rows(), id.cols(), token.cols()};
    check(!position || (position.cols() == s.d && position.rows() >= s.time),
          "embedding: positions are {}, ids {}, tokens {}", position.shape.text(), id.shape.text(), token.shape.text());
    tape.expect_indices("embedding", "token", id, token.rows());
    Tensor y = tape.tensor({s.batch, s.time, s.d});
    const Device device = tape.device();
    FCI_ON(device, embedding_forward)(s, id.data, token.data, position.data, y.data);
    tape.append("embedding", y, embedding_cost(s, bool(position)), [=] {
        FCI_ON(device, embedding_backward)(s, id.data, y.grad, token.grad, position.grad);
    });
    return y;
}

} // namespace fci
