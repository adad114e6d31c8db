// Tape: reverse-mode differentiation by a list. Each op, when it has computed its output, appends one
// closure that adds to its inputs' gradients; creation order is a topological order, so backward() is a
// walk from the end to the start [Stan Math's arena tape; micrograd].
//
//   f = loss(x_n),  x_i = op_i(x_j, j < i):   dx_j += (d op_i / d x_j)^T dx_i,   i = n .. 1
//
// Closures live in the arena (on a GPU in one on the host, which calls them), are trivially destructible and capture
// handles and sizes only.
#pragma once
#include <cmath>
#include <new>
#include <type_traits>
#include <vector>

#include "core/arena.h"
#include "core/cost.h"
#include "core/tensor.h"

namespace fci {

class Tape {
public:
    // recording = false: forward only; tensors get no gradient and nothing is appended.
    // gradients: a zeroed arena for the activations' gradients (on a GPU, where one fill is better than many); null:
    // they lie in `arena` too.
    explicit Tape(Arena& arena, bool recording = true, Arena* gradients = nullptr)
        : arena_(arena), gradients_(gradients), closures_(arena.device() == Device::cpu ? arena : on_host_),
          recording_(recording) {
        nodes_.reserve(256);
        made_.reserve(512);
    }

    Arena& arena() { return arena_; }
    bool recording() const { return recording_; }
    Device device() const { return arena_.device(); }

    // An activation: its numbers are unset, its gradient (if any) is zero.
    Tensor tensor(Shape shape) { return with_gradient({arena_.floats(shape.size()), nullptr, shape}); }

    // Numbers from outside as an activation: it gets a gradient like any other, which nothing reads.
    Tensor with_gradient(Tensor t) {
        if (recording_ && gradients_) {
            t.grad = gradients_->floats(t.size());
        } else if (recording_) {
            t.grad = arena_.floats(t.size());
            set_zero(device(), t.grad, t.size() * sizeof(float));
        }
        return t;
    }

    // Called by each op at its end: its name, its output, its cost, and its backward as a closure of no arguments.
    template <class F>
    void append(const char* op, const Tensor& output, const OpCost& cost, F backward) {
        static_assert(std::is_trivially_destructible_v<F> && std::is_trivially_copyable_v<F>,
                      "a tape closure captures handles and sizes only");
        if (checked_ && !finite(output.data, output.size()))
            fail(Exit::non_finite, "{}: the output {} has a NaN or Inf", op, output.shape.text());
        if (!recording_) return;
        void* closure = device() == Device::none ? nullptr : new (closures_.bytes(sizeof(F))) F(backward);
        nodes_.push_back({op, cost, [](void* c) { (*static_cast<F*>(c))(); }, closure});
        if (checked_) made_.push_back(output);
    }

    void backward() {
        for (size_t i = nodes_.size(); i-- > 0;) {
            nodes_[i].run(nodes_[i].closure);
            if (!checked_) continue;
            for (const Tensor& t : made_)
                if (!finite(t.grad, t.size()))
                    fail(Exit::non_finite, "{}: its backward wrote a NaN or Inf into the gradient of a {} input",
                         nodes_[i].op, t.shape.text());
        }
    }

    size_t size() const { return nodes_.size(); }
    struct Call { // of an op
        const char* op;
        OpCost cost;
    };
    const Call& operator[](size_t i) const { return nodes_[i]; } // in the order of appending

    // Empties the tape and the arena under it: the next step starts at the same addresses.
    void reset() {
        nodes_.clear();
        made_.clear();
        arena_.reset();
        on_host_.reset();
        if (gradients_) gradients_->reset();
    }

    // A slow mode on the CPU that checks every number and names the first op whose output is not finite.
    void set_checked(bool on) { checked_ = on; }

    // Checks indices that come from outside, on the CPU; on a GPU the host cannot read them.
    void expect_indices(const char* op, const char* what, IntTensor index, int below) const {
        if (device() != Device::cpu) return;
        for (int64_t i = 0; i < index.shape.size(); ++i)
            check(index.data[i] >= 0 && index.data[i] < below, "{}: {} {} at {} is outside 0 to {}", op, what,
                  index.data[i], i, below - 1);
    }

    static bool finite(const float* x, int64_t n) {
        if (!x) return true;
        for (int64_t i = 0; i < n; ++i)
            if (!std::isfinite(x[i])) return false;
        return true;
    }

private:
    struct Node : Call {
        void (*run)(void*);
        void* closure;
    };
    Arena& arena_;
    Arena* gradients_;
    Arena on_host_;
    Arena& closures_;
    bool recording_, checked_ = false;
    std::vector<Node> nodes_;
    std::vector<Tensor> made_; // checked mode only
};

} // namespace fci
