// The engine in use: a small network learns which points of a square lie in a ring. Calling a layer computes, and
// appends to the tape what its derivative is; backward() walks the tape from its end.
//
//   make examples && build/release/examples/mlp
#include <fmt/format.h>

#include <numeric>

#include "nn/basic.h"
#include "ops/cross_entropy.h"
#include "train/adamw.h"

using namespace fci;

struct Mlp {
    Linear first, second;
    explicit Mlp(ParameterBinder& p) : first(p, "first", 2, 32), second(p, "second", 32, 2) {}
    Tensor operator()(Tape& tape, Tensor x) const { return second(tape, gelu(tape, first(tape, x))); }
};

double train_mlp(int steps) { // the last loss
    constexpr int points = 256;
    ParameterBinder layout; // the first build measures, the second binds to memory
    const Mlp measure(layout);
    std::vector<float> parameters(layout.block_size()), gradient(layout.block_size());
    initialise(layout.infos(), 1, parameters.data());
    ParameterBinder binder(parameters.data(), gradient.data());
    const Mlp mlp(binder);

    Arena arena;
    Tape tape(arena);
    AdamW optimiser(layout.block_size());
    Workers workers(1);
    double loss = 0;
    for (int step = 0; step < steps; ++step) {
        tape.reset();
        Rng random(1, Stream::train_data, step);
        const Tensor x = tape.tensor({points, 2});
        int32_t* in_ring = arena.array<int32_t>(points);
        for (int i = 0; i < points; ++i) {
            float* at = x.data + 2 * i;
            at[0] = random.uniform(-1, 1), at[1] = random.uniform(-1, 1);
            in_ring[i] = std::abs(std::hypot(at[0], at[1]) - 0.6f) < 0.2f;
        }
        const Tensor losses =
            cross_entropy(tape, mlp(tape, x), {in_ring, {points}}, 1.f / points); // minimised: their mean
        loss = std::accumulate(losses.data, losses.data + points, 0.0) / points;
        std::fill(gradient.begin(), gradient.end(), 0.f);
        tape.backward();
        optimiser.step(step + 1, OneCycle{0.05, steps}.at(step), 1, gradient.data(), parameters.data(), workers);
        if ((step + 1) % 100 == 0) fmt::print("step {:4}  loss {:.4f}\n", step + 1, loss);
    }
    return loss;
}

#ifndef EXAMPLE_WITHOUT_MAIN
int main() { train_mlp(1000); }
#endif
