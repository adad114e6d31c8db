// The columns of the op table, which run and check any row. See op_table.h.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "core/gemm.h"
#include "core/scratch.h"
#include "tests/op_table.h"

namespace emulator {
[[gnu::weak]] void set_order(int); // forward, reverse, shuffled: tests/emulator; not linked on a GPU
}

namespace fci::test {
namespace {

constexpr uint64_t data_seed = 20;

// Fewer if each takes long, as under compute-sanitizer: FCI_TWIN_DRAWS.
uint64_t draws() {
    const char* fewer = std::getenv("FCI_TWIN_DRAWS");
    return fewer ? std::strtoull(fewer, nullptr, 10) : 8;
}

template <class T>
double largest(const Guarded<T>& x) {
    double m = 0;
    for (int64_t i = 0; i < x.size(); ++i) m = std::max(m, std::abs(static_cast<double>(x.data()[i])));
    return m;
}

double dot(const Guarded<double>& x, const Guarded<double>& y) {
    double sum = 0;
    for (int64_t i = 0; i < x.size(); ++i) sum += x.data()[i] * y.data()[i];
    return sum;
}

// <dy, J v> for the direction v of each input, by dual numbers.
double derivative_along(const OpCase& op, uint64_t seed, const std::vector<Guarded<double>>& v,
                        const Memory<double>& m) {
    Memory<Dual> dual(op, seed);
    for (size_t i = 0; i < op.fields.size(); ++i)
        if (op.fields[i].role == Role::input)
            for (int64_t e = 0; e < op.fields[i].size; ++e) dual.data[i].data()[e].tangent = v[i].data()[e];
    op.forward.in_dual(dual);
    double sum = 0;
    for (size_t i = 0; i < op.fields.size(); ++i)
        if (op.fields[i].role == Role::output)
            for (int64_t e = 0; e < op.fields[i].size; ++e)
                sum += m.gradient[i].data()[e] * dual.data[i].data()[e].tangent;
    return sum;
}

// How far a buffer of the kernel and of the naive float reference deviate from the reference in double, over all draws.
struct Deviation {
    double kernel = 0, naive = 0, scale = 0;
    std::string worst; // where the kernel deviates most

    void look(const std::string& what, const Guarded<float>& got, const Guarded<double>& expected,
              const Guarded<float>& by_naive) {
        scale = std::max(scale, largest(expected));
        for (int64_t i = 0; i < got.size(); ++i) {
            naive = std::max(naive, std::abs(by_naive.data()[i] - expected.data()[i]));
            const double error = std::abs(got.data()[i] - expected.data()[i]);
            if (error <= kernel || !std::isfinite(kernel)) continue;
            kernel = std::isfinite(error) ? error : INFINITY; // a NaN counts as an infinite error
            worst = fmt::format("{}[{}] is {:.9g}, expected {:.9g}", what, i, got.data()[i], expected.data()[i]);
        }
    }
    double allowed(double eps) const { return 2 * naive + 4 * eps * scale; }
};

template <class T>
bool same_bits(const Guarded<T>& x, const Guarded<T>& y) {
    return std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

struct CheckedScratch {
    CheckedScratch() { cpu::Scratch::set_checked(true); }
    ~CheckedScratch() { cpu::Scratch::set_checked(false); }
};

// Forbidden writes of a kernel: beyond any buffer; inputs; indices; dy.
std::string trespass(const OpCase& op, const Memory<float>& m, uint64_t seed) {
    if (const std::string outside = cpu::Scratch::trespass(); !outside.empty()) return outside;
    const Memory<float> fresh(op, seed);
    for (size_t i = 0; i < op.fields.size(); ++i) {
        const Field& f = op.fields[i];
        if (!m.data[i].intact()) return fmt::format("a write outside {} of {} floats", f.name, f.size);
        if (!m.gradient[i].intact()) return fmt::format("a write outside d{} of {} floats", f.name, f.size);
        if (f.role == Role::input && !same_bits(m.data[i], fresh.data[i])) return fmt::format("{} was changed", f.name);
        if (f.role == Role::output && !same_bits(m.gradient[i], fresh.gradient[i]))
            return fmt::format("d{} was changed", f.name);
    }
    for (size_t i = 0; i < op.index_fields.size(); ++i) {
        const IndexField& f = op.index_fields[i];
        if (!m.index[i].intact()) return fmt::format("a write outside {} of {} indices", f.name, f.size);
        if (f.role == Role::input && !same_bits(m.index[i], fresh.index[i]))
            return fmt::format("{} was changed", f.name);
    }
    return "";
}

} // namespace

// <dy, J v> = <J^T dy, v>, with J v from dual numbers and J^T dy from the backward pass under test, for v in one input
// alone (so that the others' gradients cannot hide its own) and in all together. Error at most 1e-10 of the largest
// gradient entry.
std::string check_grad(const OpCase& op) {
    for (uint64_t draw = 0; draw < 3; ++draw) {
        Memory<double> m(op, data_seed + draw);
        op.forward.in_double(m);
        op.backward.in_double(m);
        const int all = static_cast<int>(op.fields.size());
        for (int only = 0; only <= all; ++only) {
            if (only < all && op.fields[only].role != Role::input) continue;
            std::vector<Guarded<double>> v;
            double scale = 1e-4, got = 0; // data are of order 1; a zero gradient has no scale
            for (int i = 0; i < all; ++i) {
                v.emplace_back(op.fields[i].size);
                Rng rng(draw, Stream::pattern, i);
                const bool moves = op.fields[i].role == Role::input && (only == all || only == i);
                for (int64_t e = 0; e < v[i].size(); ++e) v[i].data()[e] = moves ? 2 * rng.uniform64() - 1 : 0;
                if (!moves) continue;
                scale = std::max(scale, largest(m.gradient[i]));
                got += dot(m.gradient[i], v[i]);
            }
            const double expected = derivative_along(op, data_seed + draw, v, m);
            if (!(std::abs(got - expected) <= 1e-10 * scale))
                return fmt::format("{}: <d{}, v> is {:.15g}, but <dy, J v> is {:.15g} (largest gradient entry {:.3g})",
                                   op.name, only == all ? "(all)" : op.fields[only].name, got, expected, scale);
        }
    }
    return "";
}

// The kernel's largest error, against the reference in double, is at most twice that of the naive reference in float,
// plus 4 eps of the largest entry. All three are taken over several draws, since with few numbers a single draw may be
// lucky. Gradients start as noise of the gradient's size, and the kernel must add to them.
std::string check_kernel(const OpCase& op, const std::function<void(Memory<float>&)>& forward,
                         const std::function<void(Memory<float>&)>& backward, double eps) {
    use_one_blas_thread();
    const CheckedScratch checked;
    std::vector<Deviation> of_output(op.fields.size()), of_gradient(op.fields.size());
    for (uint64_t seed = data_seed; seed < data_seed + draws(); ++seed) {
        Memory<double> expected(op, seed);
        Memory<float> naive(op, seed), kernel(op, seed);
        op.forward.in_double(expected);
        op.forward.in_float(naive);
        forward(kernel);
        if (backward) {
            op.backward.in_double(expected);
            for (size_t i = 0; i < op.fields.size(); ++i) {
                if (op.fields[i].role != Role::input) continue;
                Rng rng(seed, Stream::pattern, i);
                const double scale = largest(expected.gradient[i]);
                for (int64_t e = 0; e < op.fields[i].size; ++e) {
                    const float noise = rng.uniform(-1, 1) * static_cast<float>(scale > 0 ? scale : 1);
                    expected.gradient[i].data()[e] += noise;
                    naive.gradient[i].data()[e] = kernel.gradient[i].data()[e] = noise;
                }
            }
            op.backward.in_float(naive);
            backward(kernel);
        }
        const std::string wrong = trespass(op, kernel, seed);
        if (!wrong.empty()) return op.name + ": " + wrong;
        for (size_t i = 0; i < op.fields.size(); ++i) {
            const Field& f = op.fields[i];
            if (f.role == Role::output) of_output[i].look(f.name, kernel.data[i], expected.data[i], naive.data[i]);
            if (f.role == Role::input && backward)
                of_gradient[i].look(std::string("d") + f.name, kernel.gradient[i], expected.gradient[i],
                                    naive.gradient[i]);
        }
        for (size_t i = 0; i < op.index_fields.size(); ++i)
            if (!same_bits(kernel.index[i], expected.index[i]))
                return fmt::format("{}: {} differs", op.name, op.index_fields[i].name);
    }
    for (const std::vector<Deviation>* all : {&of_output, &of_gradient})
        for (const Deviation& d : *all)
            if (d.kernel > d.allowed(eps))
                return fmt::format("{}: {}: off by {:.3g}, allowed {:.3g}", op.name, d.worst, d.kernel, d.allowed(eps));
    return "";
}

// check_kernel's criterion; also, the bits must be the same in every order of threads.
std::string check_twin(const OpCase& op, double eps) {
    const std::string wrong = check_kernel(op, op.forward.cuda, op.backward.cuda, eps);
    if (!wrong.empty()) return wrong;
    std::optional<Memory<float>> first;
    for (const int order : {0, 1, 2}) {
        if (emulator::set_order) emulator::set_order(order);
        Memory<float> m(op, data_seed);
        op.forward.cuda(m);
        if (op.backward.cuda) op.backward.cuda(m);
        if (emulator::set_order) emulator::set_order(0);
        if (!first) first.emplace(std::move(m));
        for (size_t i = 0; order && i < op.fields.size(); ++i)
            if (!same_bits(m.data[i], first->data[i]) || !same_bits(m.gradient[i], first->gradient[i]))
                return fmt::format("{}: {} or its gradient depends on the order of threads ({})", op.name,
                                   op.fields[i].name, order);
    }
    return "";
}

// The node passes the right tensors and gradients to the kernels, whatever its arena holds: same bits as calling the
// kernels directly.
std::string check_node(const OpCase& op, Device device) {
    use_one_blas_thread();
    const CheckedScratch checked;
    Memory<float> direct(op, data_seed), by_node(op, data_seed);
    (device == Device::cpu ? op.forward.cpu : op.forward.cuda)(direct);
    (device == Device::cpu ? op.backward.cpu : op.backward.cuda)(direct);

    Arena arena(device), gradients(device);
    const size_t floats = Arena::chunk_bytes / sizeof(float);
    const std::vector<float> rubbish(floats, std::numeric_limits<float>::quiet_NaN());
    copy_in(device, arena.floats(floats), rubbish.data(), floats * sizeof(float));
    arena.reset();
    gradients.keep_zeroed();
    Tape tape(arena, true, device == Device::cpu ? nullptr : &gradients);
    const Outputs made = op.node(tape, by_node);
    if (!(tape[0].cost == op.cost)) return op.name + ": the node states another cost than the row";
    size_t seen = 0;
    for (size_t i = 0; i < op.fields.size(); ++i)
        if (op.fields[i].role == Role::output) {
            check(seen < made.size(), "{}: the node made {} tensors only", op.name, made.size());
            const Tensor y = made[seen++];
            if (y.size() != op.fields[i].size) return fmt::format("{}: the node made {}", op.name, y.shape.text());
            const size_t bytes = y.size() * sizeof(float);
            std::vector<float> output(y.size()); // on the host
            copy_out(device, output.data(), y.data, bytes);
            if (std::memcmp(output.data(), direct.data[i].data(), bytes))
                return fmt::format("{}: the node's {} differs", op.name, op.fields[i].name);
            copy_in(device, y.grad, direct.gradient[i].data(), bytes);
        }
    tape.backward();
    if (device == Device::cuda) cuda::synchronize();
    for (size_t i = 0; i < op.fields.size(); ++i)
        if (op.fields[i].role == Role::input && !same_bits(direct.gradient[i], by_node.gradient[i]))
            return fmt::format("{}: the node's d{} differs", op.name, op.fields[i].name);
    const std::string wrong = trespass(op, by_node, data_seed);
    return wrong.empty() ? "" : op.name + ": " + wrong;
}

const OpCase& row_of(const std::string& beginning) {
    for (const OpCase& row : op_table())
        if (row.name.starts_with(beginning)) return row;
    fail(Exit::internal, "the op table has no row '{}'", beginning);
}

} // namespace fci::test
