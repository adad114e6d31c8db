// One side of a comparison: a tape on a device, and copies of numbers to and from it.
#pragma once
#include <vector>

#include "core/tape.h"

namespace fci {

struct Side {
    Arena arena, gradients;
    Tape tape;

    explicit Side(Device device)
        : arena(device), gradients(device), tape(arena, true, device == Device::cpu ? nullptr : &gradients) {
        gradients.keep_zeroed();
    }
    Device device() const { return arena.device(); }

    template <class T>
    T* in(const std::vector<T>& x) {
        T* p = arena.array<T>(x.size());
        copy_in(device(), p, x.data(), x.size() * sizeof(T));
        return p;
    }
    template <class T>
    std::vector<T> out(const T* p, int64_t n) {
        std::vector<T> x(n);
        copy_out(device(), x.data(), p, n * sizeof(T));
        return x;
    }
    std::vector<float> out(Tensor x) { return out(x.data, x.size()); }
    std::vector<int32_t> out(IntTensor x) { return out(x.data, x.shape.size()); }
};

} // namespace fci
