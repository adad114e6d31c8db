// Tensor: a small value that points at memory somebody else owns (an arena, or a flat parameter block).
// float32, row-major, contiguous, at most 4 dimensions. `grad` has the same layout, or is null where no
// gradient is wanted. Reshape and row ranges are the only views; there is no broadcasting.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>

#include "core/check.h"

namespace fci {

struct Shape {
    std::array<int, 4> n{};
    int rank = 0;

    Shape() = default;
    Shape(std::initializer_list<int> sizes) {
        check(sizes.size() <= 4, "shape: {} dimensions, at most 4", sizes.size());
        for (int s : sizes) n[rank++] = s;
    }
    int operator[](int i) const { return n[i]; }
    int64_t size() const {
        int64_t product = 1;
        for (int i = 0; i < rank; ++i) product *= n[i];
        return product;
    }
    bool operator==(const Shape& o) const { return rank == o.rank && n == o.n; }
    std::string text() const { // (4,64,16)
        std::string s = "(";
        for (int i = 0; i < rank; ++i) {
            if (i) s += ",";
            s += std::to_string(n[i]);
        }
        return s + ")";
    }
};

struct Tensor {
    float* data = nullptr;
    float* grad = nullptr;
    Shape shape;

    int64_t size() const { return shape.size(); }
    int cols() const { return shape.rank ? shape[shape.rank - 1] : 1; }         // innermost dimension
    int rows() const { return static_cast<int>(cols() ? size() / cols() : 0); } // all the others together
    explicit operator bool() const { return data != nullptr; }

    // The same numbers under another shape of the same size.
    Tensor reshape(Shape to) const {
        check(to.size() == size(), "reshape: {} has {} numbers, {} has {}", shape.text(), size(), to.text(), to.size());
        return {data, grad, to};
    }
    // Rows [begin, end) of a matrix, e.g. the part of a joint projection that makes z.
    Tensor row_range(int begin, int end) const {
        check(shape.rank == 2 && 0 <= begin && begin <= end && end <= shape[0], "row_range: rows {} to {} of {}", begin,
              end, shape.text());
        const int64_t skip = int64_t{begin} * shape[1];
        return {data + skip, grad ? grad + skip : nullptr, Shape{end - begin, shape[1]}};
    }
};

// Positions and token ids: int32, never differentiated.
struct IntTensor {
    const int32_t* data = nullptr;
    Shape shape;

    int cols() const { return shape.rank ? shape[shape.rank - 1] : 1; }
    int rows() const { return static_cast<int>(cols() ? shape.size() / cols() : 0); }
};

// Stops with "NAME: WHAT is (4,63,16), expected (4,64,16)" unless the shapes agree.
inline void expect_shape(const char* op, const char* what, const Tensor& t, const Shape& expected) {
    check(t.shape == expected, "{}: {} is {}, expected {}", op, what, t.shape.text(), expected.text());
}

} // namespace fci
