// One or two directions of time, each with its own tensors: an op takes both in one call. On a GPU that is one
// launch with twice the blocks; one direction alone leaves much of a large GPU idle. No tensor may belong to both:
// they would add to its gradient at the same time.
#pragma once
#include "core/tensor.h"

namespace fci {

constexpr int most_directions = 2;

template <class Direction>
struct Directions {
    int count = 0;
    Direction at[most_directions] = {};

    void add(const Direction& d) { at[count++] = d; }
    const Direction* begin() const { return at; }
    const Direction* end() const { return at + count; }
};

template <class Inputs, class... Members>
void expect_apart(const char* op, const Inputs& in, Members... of_each) {
    const auto apart = [&](auto member) {
        check((in[0].*member).data != (in[1].*member).data, "{}: a tensor belongs to both directions", op);
    };
    if (in.size() == 2) (apart(of_each), ...);
}

// (directions, ...) -> (...): what belongs to the i-th
inline Tensor direction_of(Tensor all, int i) {
    check(all.shape.rank > 1 && 0 <= i && i < all.shape[0], "direction_of: direction {} of {}", i, all.shape.text());
    Shape one;
    for (int n = 1; n < all.shape.rank; ++n) one.n[one.rank++] = all.shape[n];
    const int64_t skip = i * one.size();
    return {all.data + skip, all.grad ? all.grad + skip : nullptr, one};
}

} // namespace fci
