// Trainer: the step and the evaluation, with CPU parallelism outside the ops.
//
// A batch is cut into a fixed number of gradient groups of whole sequences. A worker takes a group, runs its
// sequences through the model a few at a time, forward and backward on its own tape, and adds to the group's own
// gradient block; then group blocks are added in fixed order. Nothing depends on which worker took which group, so
// the bits are the same for 1, 2 or 64 threads.
//
// The loss is that of train/losses.h, with w = 1 - 0.9 e/(E-1) in epoch e of E. With --device cuda steps and evaluation
// run on the GPU (train/gpu_trainer.h), all else here.
#pragma once
#include <memory>
#include <optional>

#include "train/adamw.h"
#include "train/chance.h"
#include "train/data.h"
#include "train/gpu_trainer.h"

namespace fci {

struct Step {
    int64_t number; // from 1
    int epoch;      // from 0
    double loss, answer_loss, routing_loss, grad_norm, learning_rate;
    Counts counts; // on the batch, before the update
};

class Trainer {
public:
    explicit Trainer(TrainerData); // parameters start from the seed

    // The next step. Exit::non_finite if a loss or gradient is NaN or Inf: names the step and the first op that made
    // one; parameters and optimiser are then still those of the step before. The first step pretrains, if that is asked
    // for; a SignalGuard's stop_asked() ends that with Exit::interrupted.
    Step step() { return advance(steps_done_ + 1).front(); }
    // Steps towards number `until`: one on the CPU, on the GPU those of an epoch (GpuTrainer::most_steps). The first
    // step that fails throws only when those before it have been returned.
    std::span<const Step> advance(int64_t until);
    Counts evaluate() { return evaluate(test_, false); } // on the test set
    // Once, at a run's end: on the final test's sequences (train/data.h), and closely. Nothing where there are none.
    std::optional<Counts> final_test();

    int64_t steps_done() const { return steps_done_; }
    int64_t steps_per_epoch() const { return steps_per_epoch_; }
    int64_t steps_total() const { return steps_per_epoch_ * options_.train.epochs; }
    const Chance& chance() const { return chance_; }
    const Options& options() const { return options_; }
    uint64_t data_hash() const { return data_hash_; }
    int place_length() const { return forward_model_->place_length(); } // positions of what the router chooses
    const Dataset& train_set() const { return train_; }
    const Dataset& test_set() const { return test_; }
    // Evaluates on other sequences from now on, of this task; `name` is for messages.
    void set_test_set(Dataset, const TaskOptions&, const std::string& name);

    // What a checkpoint holds: parameters, optimiser and the step; all randomness is a function of seed and step. What
    // a GPU has changed is fetched first.
    const std::vector<ParameterInfo>& infos() const { return infos_; }
    int64_t parameter_count() const;
    const std::vector<float>& parameters() { return fetch(), data_; }
    const AdamW& optimiser() { return fetch(), adamw_; }
    struct Numbers {
        std::vector<float>& parameters; // the models are bound to its memory: assign, do not swap
        AdamW& optimiser;
    };
    Numbers edit() { return fetch(), newest_ = Side::host, Numbers{data_, adamw_}; } // until the next step or test
    Tensor parameter(const std::string& name); // to edit; Exit::internal where the model has none of that name
    void set_steps_done(int64_t steps) { steps_done_ = steps; }

    // The places that the router picks in one sequence, (queries, k), and, where there are any, its scores
    // (queries, places). A place is place_length positions.
    struct Look {
        std::vector<int32_t> picked;
        std::vector<float> scores;
        int place_length = 1;
    };
    Look look(const Dataset&, int sequence);

    // What the router sees of one sequence, (length, d_model), in the worker's memory until its next call. For many
    // threads, so that parameters() must be called before it.
    Tensor represent(const Dataset&, int sequence, int worker = 0);
    Workers& workers() { return workers_; }

private:
    struct Lane { // what one worker runs on
        Arena arena;
        Tape tape{arena, true}, forward_only{arena, false};
    };
    struct Group { // one gradient group
        float* grad;
        std::unique_ptr<Model> model; // bound to the shared parameters and this group's gradients
        Counts counts;
    };
    enum class Side { host, gpu, both };                 // who has the parameters and the optimiser as they are now
    void fetch();                                        // to the host, if need be
    GpuTrainer& on_gpu();                                // with them
    struct Frozen {                                      // numbers that an optimiser step leaves as they are
        std::vector<std::pair<int64_t, int64_t>> ranges; // (offset, size)
        std::vector<float> kept;
    };
    OneCycle schedule() const { return {options_.train.learning_rate, steps_total()}; }
    template <class F>
    void each_tape(int g, Lane& lane, int64_t step_of_epoch, F f);
    void run_group(int g, Lane& lane);
    template <class Keep>
    Frozen freeze(Keep keep) const;                                // the parameters for which keep(info) is true
    double update(AdamW&, int64_t step, OneCycle::Point, Frozen&); // all groups' gradients; returns their norm
    void pretrain();
    Step step_on_cpu();
    Step describe(int64_t number, const Counts&) const; // all but the norm of its gradient
    std::span<const Step> steps_on_gpu(int64_t until);
    void diagnose();
    Counts evaluate(const Dataset&, bool closely);
    template <class F>
    Batch gather_sequences(Arena&, const Dataset&, int n, F index_of) const;
    void shuffle(int epoch, Stream = Stream::order);
    double routing_weight(int epoch) const;
    Chance fitted_chance(const TaskOptions&) const;

    Options options_;
    Dataset train_, test_;
    uint64_t data_hash_ = 0;
    Chance chance_;
    Workers workers_;
    int64_t steps_per_epoch_ = 0, steps_done_ = 0;
    std::vector<ParameterInfo> infos_;
    std::vector<float> data_;
    std::vector<float> grads_; // one block a group
    std::vector<float*> grad_blocks_;
    AdamW adamw_{0};
    Frozen frozen_;
    Arena budget_memory_;
    std::optional<Budget::Experience> experience_; // of budgeted attention
    std::vector<float> budget_losses_;
    std::unique_ptr<Model> forward_model_; // no gradients
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::vector<Group> groups_;
    std::vector<double> partial_;
    std::vector<Counts> evaluation_;
    std::vector<int> order_;
    Stream order_stream_ = Stream::order;
    int order_epoch_ = -1;
    std::unique_ptr<GpuTrainer> gpu_; // null: on the CPU
    Side newest_ = Side::host;
    std::vector<Step> made_;
};

} // namespace fci
