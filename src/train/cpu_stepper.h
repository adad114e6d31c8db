// CpuStepper: the step and the evaluation on the CPU, with parallelism outside the ops.
//
// A batch is cut into a fixed number of gradient groups of whole sequences. A worker takes a group, runs its
// sequences through the model a few at a time, forward and backward on its own tape, and adds to the group's own
// gradient block; then group blocks are added in fixed order. Nothing depends on which worker took which group, so
// the bits are the same for 1, 2 or 64 threads.
#pragma once
#include <memory>
#include <optional>

#include "train/stepper.h"

namespace fci {

class CpuStepper final : public Stepper {
public:
    static constexpr int most_groups = 8; // of gradients: more threads do not speed up a step

    // All references must outlive the stepper.
    CpuStepper(const Options&, const Dataset& train, const std::vector<ParameterInfo>&, Numbers&, Workers&);

    std::span<const Shown> run(const Phase&, int64_t first, int64_t n) override; // one
    std::string not_finite(const Phase&, int64_t step) override;
    Counts evaluate(const Dataset&, bool closely) override;
    const Numbers& numbers() override { return numbers_; }
    Numbers& edit() override { return numbers_; }

    std::string first_not_finite(const Phase&, int64_t step); // the op's message; empty: here all numbers are finite
    const Model& model() const { return *forward_model_; }    // without gradients
    // Of one sequence, in the worker's memory until its next call.
    Model::Output forward(const Dataset&, int sequence, int worker);
    Tensor represent(const Dataset&, int sequence, int worker);

private:
    struct Workspace { // what one worker runs on
        Arena arena;
        Tape tape{arena, true}, forward_only{arena, false};
    };
    struct Group { // one gradient group
        float* grad;
        std::unique_ptr<Model> model; // bound to the shared parameters and this group's gradients
        Counts counts;
    };
    void run_group(const Phase&, int64_t step, int g, Workspace&);
    void train_on(const Batch&, int first, float routing_weight, Group&, Tape&);
    double update(const Phase&, int64_t step); // with all groups' gradients; returns their norm

    const Options& options_;
    const Dataset& train_;
    const std::vector<ParameterInfo>& infos_;
    Numbers& numbers_;
    Workers& workers_;
    std::vector<float> grads_; // one block a group
    std::vector<float*> grad_blocks_;
    std::vector<float> kept_; // what is frozen, during an update
    std::vector<double> partial_;
    std::unique_ptr<Model> forward_model_;
    std::vector<std::unique_ptr<Workspace>> workspaces_;
    std::vector<Group> groups_;
    Arena budget_memory_;
    std::optional<Budget::Observations> observed_; // of budgeted attention
    std::vector<float> budget_losses_;
    std::vector<Counts> evaluation_;
    Shown shown_{};
};

} // namespace fci
