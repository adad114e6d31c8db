// The op table's rows for the tests. They add to bench/op_table.h the references and the columns (op_check.cpp), which
// can fill, run and compare any row:
//   grad   the reference's backward against dual numbers through the reference's forward, in double
//   cpu    the float kernels against the reference in double
//   node   the tape node against the float kernels, bit for bit, on each device
//   twin   the CUDA twins, on the emulator or on a GPU: judged like the cpu column, and the same bits in three thread
//          orders
#pragma once
#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "bench/op_table.h"
#include "tests/reference/dual.h"

namespace fci::test {

using reference::Dual;

inline const Fill with_ties = [](Rng& rng) { return static_cast<float>(rng.between(-2, 3)); };
inline const Fill with_nan = [](Rng& rng) {
    return rng.below(3) ? rng.uniform(-1, 1) : std::numeric_limits<float>::quiet_NaN();
};

// (range, offset) of logits: a constant added to a whole row must change nothing, even where float32 represents only
// every eighth number.
constexpr std::pair<float, float> logits_to_try[] = {{2, 0},     {100, 0},   {2, 300},    {2, -300},
                                                     {50, 1e4f}, {50, 1e6f}, {100, 1e8f}, {100, -1e8f}};

template <class T>
class Memory;

// One pass of an op, in each number type of the reference and on each device.
struct Calls {
    std::function<void(Memory<double>&)> in_double;
    std::function<void(Memory<Dual>&)> in_dual;
    std::function<void(Memory<float>&)> in_float, cpu, cuda;
    bool has_twin = false;
};

// The reference of a kernel, with the kernel's type.
template <auto on_cpu>
struct Reference;
#define FCI_REFERENCE(f)                                                                                               \
    template <>                                                                                                        \
    struct Reference<&cpu::f> {                                                                                        \
        static constexpr auto in_double = &reference::f<double>;                                                       \
        static constexpr auto in_dual = &reference::f<Dual>;                                                           \
        static constexpr decltype(&cpu::f) in_float = &reference::f<float>;                                            \
    };
#define FCI_REFERENCES(op) FCI_REFERENCE(op##_forward) FCI_REFERENCE(op##_backward)

struct OpCase : OpFields {
    using OpFields::OpFields;

    Calls forward, backward;                                  // backward: empty if the op has none
    std::function<Outputs(Tape&, const Memory<float>&)> node; // empty: the node has a separate test

    Buffer buffer(const std::string& what) const {
        for (size_t i = 0; i < fields.size(); ++i)
            if (what == fields[i].name) return {static_cast<int>(i)};
        fail(Exit::internal, "{} has no buffer '{}'", name, what);
    }

    // call(memory, function) passes the buffers to the function; it is the same for every number type and device.
    template <auto on_cpu, class F>
    static Calls calls_of(Twin<on_cpu> twin, F call) {
        using Naive = Reference<on_cpu>;
        return {[=](Memory<double>& m) { call(m, Naive::in_double); },
                [=](Memory<Dual>& m) { call(m, Naive::in_dual); },
                [=](Memory<float>& m) { call(m, Naive::in_float); },
                [=](Memory<float>& m) { call(m, on_cpu); },
                [=](Memory<float>& m) {
                    call(m, twin.cuda);
                    cuda::synchronize();
                },
                twin.cuda != nullptr};
    }
};

// Memory that both the tests and a device's kernels can read: managed memory on a GPU, the heap in the emulator.
template <class T>
struct Visible {
    using value_type = T;
    Visible() = default;
    template <class U>
    Visible(const Visible<U>&) {}
    T* allocate(size_t n) { return static_cast<T*>(cuda::allocate_managed(n * sizeof(T))); }
    void deallocate(T* p, size_t) { cuda::release(p); }
    bool operator==(const Visible&) const { return true; }
};

template <class T>
using VisibleVector = std::vector<T, Visible<T>>;

// An array between two rows of guard words. They are ordinary positive numbers, different for each array: adding to a
// NaN, the gelu of a very negative number or a copy of another guard would leave no trace.
template <class T>
class Guarded {
public:
    static constexpr int words = 16;
    explicit Guarded(int64_t size, size_t number = 0)
        : guard_(static_cast<int>(7000 + number)), size_(size), all_(size + 2 * words, T(guard_)) {}
    T* data() { return all_.data() + words; }
    const T* data() const { return all_.data() + words; }
    int64_t size() const { return size_; }
    bool intact() const {
        const auto untouched = [this](T x) { return x == T(guard_); };
        return std::all_of(all_.begin(), all_.begin() + words, untouched) &&
               std::all_of(all_.end() - words, all_.end(), untouched);
    }

private:
    int guard_;
    int64_t size_;
    VisibleVector<T> all_;
};

// The buffers of one row for one run. The same row and seed give the same numbers in every type.
template <class T>
class Memory {
public:
    Memory(const OpCase& op, uint64_t seed) {
        for (const Field& f : op.fields) {
            Rng rng(seed, Stream::golden, data.size()), rng_dy(seed, Stream::golden, 1000 + data.size());
            data.emplace_back(f.size, 2 * data.size());
            gradient.emplace_back(f.size, 2 * gradient.size() + 1);
            for (int64_t i = 0; i < f.size; ++i) {
                data.back().data()[i] =
                    f.role == Role::input ? T(f.fill(rng)) : T(std::numeric_limits<float>::quiet_NaN());
                gradient.back().data()[i] = f.role == Role::output ? T(rng_dy.uniform(-1, 1)) : T(0);
            }
        }
        for (const IndexField& f : op.index_fields) {
            Rng rng(seed, Stream::golden, 2000 + index.size());
            index.emplace_back(f.size);
            if (f.role == Role::input)
                f.fill(rng, index.back().data());
            else
                std::fill_n(index.back().data(), f.size, -1);
        }
    }

    T* operator[](Buffer b) { return b.id < 0 ? nullptr : data[b.id].data(); }
    int32_t* operator[](IndexBuffer b) { return b.id < 0 ? nullptr : index[b.id].data(); }
    T* grad(Buffer b) { return b.id < 0 ? nullptr : gradient[b.id].data(); } // for an output: dy

    // For tape nodes, whose ops write only what a Tensor may write.
    Tensor tensor(Buffer b, Shape shape) const {
        if (b.id < 0) return {};
        return {const_cast<float*>(data[b.id].data()), const_cast<float*>(gradient[b.id].data()), shape};
    }
    IntTensor tensor(IndexBuffer b, Shape shape) const { return {index[b.id].data(), shape}; }

    std::vector<Guarded<T>> data, gradient; // by Buffer::id
    std::vector<Guarded<int32_t>> index;    // by IndexBuffer::id
};

// The columns. Each returns a description of what is wrong with a row, or "". eps: of the kernel's products.
constexpr double float_eps = std::numeric_limits<float>::epsilon();
std::string check_grad(const OpCase&);
std::string check_kernel(const OpCase&, const std::function<void(Memory<float>&)>& forward,
                         const std::function<void(Memory<float>&)>& backward, double eps = float_eps);
std::string check_twin(const OpCase&, double eps = float_eps);
std::string check_node(const OpCase&, Device);

const std::vector<OpCase>& op_table();
// Rows from another file, which nothing else names: static const MoreRows rows([](std::vector<OpCase>& table) { .. });
struct MoreRows {
    explicit MoreRows(void (*add)(std::vector<OpCase>&));
};
const OpCase& row_of(const std::string& beginning); // first row whose name begins so; for tests that change a row

} // namespace fci::test
