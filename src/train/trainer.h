// Trainer: a run's data, schedule, order of steps, tests, and the state that a checkpoint holds. A Stepper, the CPU's
// or with --device cuda the GPU's, carries out steps and tests.
//
// The loss is that of train/losses.h, with w = 1 - 0.9 e/(E-1) in epoch e of E, and 0.1 in those added after them.
#pragma once
#include <memory>
#include <optional>

#include "train/chance.h"
#include "train/cpu_stepper.h"
#include "train/data.h"

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
    // Steps towards number `until`, as many as the Stepper makes at once: one on the CPU, on the GPU those of an epoch
    // (GpuStepper::most_steps). The first step that fails throws only when those before it have been returned.
    std::span<const Step> advance(int64_t until);
    Counts evaluate() { return stepper_->evaluate(test_, false); } // on the test set
    // Once, at a run's end: on the final test's sequences (train/data.h), and closely. Nothing where there are none.
    std::optional<Counts> final_test();

    int64_t steps_done() const { return steps_done_; }
    int64_t steps_per_epoch() const { return steps_per_epoch_; }
    int64_t steps_total() const { return steps_per_epoch_ * options_.train.all_epochs(); }
    int64_t steps_of_schedule() const { return steps_per_epoch_ * options_.train.epochs; } // without added epochs
    const std::optional<Chance>& chance() const { return chance_; } // known where the training set is there
    const std::optional<TrainerData::Absent>& absent() const { return absent_; }
    const Options& options() const { return options_; }
    uint64_t data_hash() const { return data_hash_; }
    int place_length() const { return cpu_->model().place_length(); } // positions of what the router chooses
    const Dataset& train_set() const { return train_; }
    const Dataset& test_set() const { return test_; }
    // Evaluates on other sequences from now on, of this task; `name` is for messages.
    void set_test_set(Dataset, const TaskOptions&, const std::string& name);

    // What a checkpoint holds: parameters, optimiser and the step; all randomness is a function of seed and step.
    const std::vector<ParameterInfo>& infos() const { return infos_; }
    int64_t parameter_count() const;
    const std::vector<float>& parameters() { return stepper_->numbers().parameters; }
    const AdamW& optimiser() { return stepper_->numbers().optimiser; }
    Numbers& edit() { return stepper_->edit(); } // until the next step or test; see Stepper
    Tensor parameter(const std::string& name);   // to edit; Exit::internal where the model has none of that name
    void set_steps_done(int64_t steps) { steps_done_ = steps; }

    // The places that the router picks in one sequence, (queries, k), where there are any its scores (queries, places),
    // and the logits (queries, vocab). A place is place_length positions.
    struct Look {
        std::vector<int32_t> chosen;
        std::vector<float> scores, logits;
        int place_length = 1;
    };
    Look look(const Dataset&, int sequence, int worker = 0); // on the CPU, in the worker's memory

    // What the router sees of one sequence, (length, d_model), in the worker's memory until its next call. For many
    // threads, so that parameters() must be called before it.
    Tensor represent(const Dataset&, int sequence, int worker = 0);
    Workers& workers() { return workers_; }

private:
    AdamW new_optimiser() const;
    template <class Keep>
    Stepper::Ranges
    freeze(Keep keep) const; // the parameters for which keep(info) is true, and all that are not learned
    void pretrain();
    Step describe(int64_t number, const Stepper::Shown&) const;
    void shuffle(int epoch, Stream = Stream::order);
    double routing_weight(int epoch) const;
    std::optional<Chance> fitted_chance(const TaskOptions&) const;

    Options options_;
    Dataset train_, test_;
    uint64_t data_hash_ = 0;
    std::optional<TrainerData::Absent> absent_;
    std::optional<Chance> chance_;
    Workers workers_;
    int64_t steps_per_epoch_ = 0, steps_done_ = 0;
    std::vector<ParameterInfo> infos_;
    Numbers numbers_{{}, AdamW(0)};
    Stepper::Ranges frozen_;
    std::vector<int> order_;
    Stream order_stream_ = Stream::order;
    int order_epoch_ = -1;
    std::unique_ptr<CpuStepper> cpu_; // looks at single sequences, whatever makes the steps
    std::unique_ptr<Stepper> gpu_;    // if asked for
    Stepper* stepper_ = nullptr;      // the one of them that makes the steps
    std::vector<Step> made_;
};

} // namespace fci
