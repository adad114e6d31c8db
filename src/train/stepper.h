// Stepper: carries out a run's steps and tests, on the CPU (cpu_stepper.h) or on the GPU (gpu_stepper.h). Which
// steps, in which order, and what a run is, Trainer decides.
#pragma once
#include <span>
#include <string>

#include "train/adamw.h"
#include "train/losses.h"

namespace fci {

struct Numbers { // all that steps change, on the host
    std::vector<float> parameters;
    AdamW optimiser;
};

class Stepper {
public:
    virtual ~Stepper() = default;

    enum class Objective { training, contrastive };
    using Ranges = std::vector<std::pair<int64_t, int64_t>>; // (offset, size) of parameters
    struct Phase { // a stretch of steps with one objective, schedule and set of frozen parameters
        Objective objective;
        int64_t steps, cycle;          // of the whole stretch, and those of them that OneCycle spans
        const Ranges& frozen;          // count neither in the norm nor in the step
        const std::vector<int>& order; // of this epoch
        double routing_weight;         // in this epoch
    };
    struct Shown {     // of a step
        Counts counts; // on the batch, before the update
        double grad_norm;
    };
    // Makes steps from number `first` on, from 0: at least one, at most n, all of one epoch. The last one may have
    // shown a loss or norm that is not finite: then it was not made, nor those after it.
    virtual std::span<const Shown> run(const Phase&, int64_t first, int64_t n) = 0;
    // After such a step, of training: the first op that makes a number that is not finite, or what else is known.
    virtual std::string not_finite(const Phase&, int64_t step) = 0;

    virtual Counts evaluate(const Dataset& test, bool closely) = 0; // closely: see count()
    virtual void forget_test_set() {}                               // the same Dataset holds other sequences now

    // The numbers after the last step. edit: they may be changed until the next step or test. The models are bound to
    // the memory of the parameters: assign, do not swap.
    virtual const Numbers& numbers() = 0;
    virtual Numbers& edit() = 0;
    virtual bool on_host() const { return true; } // numbers() has nothing to fetch
};

} // namespace fci
