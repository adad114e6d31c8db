#include "ops/linear_pair.h"

namespace fci {

std::array<Tensor, 2> linear_pair(Tape& tape, std::array<Tensor, 2> x, std::array<Tensor, 2> w) {
    expect_shape("linear_pair", "x1", x[1], x[0].shape);
    expect_shape("linear_pair", "W1", w[1], w[0].shape);
    if (tape.device() != Device::cuda) return {linear(tape, x[0], w[0], {}), linear(tape, x[1], w[1], {})};
    const LinearShape s{x[0].rows(), w[0].shape[1], w[0].shape[0]};
    check(x[0].cols() == s.in, "linear_pair: x is {}, W is {}", x[0].shape.text(), w[0].shape.text());
    const Tensor both = tape.tensor({2, s.rows, s.out}); // in one piece: a batch of two
    const int64_t half = int64_t{s.rows} * s.out;
    const cuda::PairSteps steps{x[1].data - x[0].data, w[1].data - w[0].data, half};
    const Tensor x0 = x[0], w0 = w[0];
    cuda::linear_pair_forward(s, steps, x0.data, w0.data, both.data);
    const OpCost one = linear_cost(s, false);
    const auto twice = [](Cost c) { return Cost{2 * c.products, 2 * c.pointwise, 2 * c.floats}; };
    tape.append("linear", both, {twice(one.forward), twice(one.backward)},
                [=] { cuda::linear_pair_backward(s, steps, x0.data, w0.data, both.grad, x0.grad, w0.grad); });
    Shape out = x0.shape;
    out.n[out.rank - 1] = s.out;
    return {Tensor{both.data, both.grad, out}, Tensor{both.data + half, both.grad ? both.grad + half : nullptr, out}};
}

} // namespace fci
