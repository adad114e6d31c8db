// GpuTrainer: the trainer's step and evaluation on the GPU. The whole batch is one tape; from its second time on a
// step, or a batch of a test, is a replayed graph (the first takes the memory), and many are made between two looks at
// the log.
//
// Who has what. Data, activations and gradients are the device's alone. Parameters and the optimiser's moments have a
// place on both sides: put() takes the host's, run() changes and evaluate() reads the device's, get() brings them back.
// Nothing else moves them, so between two checkpoints the host gets the log and the counts alone. Trainer knows which
// side is ahead, and calls put() and get() when the other one is needed. One thread makes all calls: its stream orders
// them.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "train/gpu.h"
#include "train/losses.h"
#include "train/options.h"

namespace fci {

class GpuTrainer {
public:
    GpuTrainer(const Options&, const Dataset& train, int64_t parameters); // parameters: floats of their block

    enum class Objective { training, contrastive };
    struct Phase { // a stretch of steps with one objective, schedule and set of frozen parameters
        Objective objective;
        int64_t steps;                                   // of the whole schedule
        std::vector<std::pair<int64_t, int64_t>> frozen; // (offset, size)
        const std::vector<int>* order;                   // of this epoch
        double routing_weight;                           // in this epoch
        const AdamW* rule;                               // its rates; the moments are the device's
    };
    void put(const std::vector<float>& parameters, const AdamW&); // to the device
    void get(std::vector<float>& parameters, AdamW&);             // to the host

    // Makes the steps first .. first + n - 1, all of one epoch, and returns what each showed. The last one may have
    // shown a loss or gradient that is not finite: then it was not made, nor those after it.
    std::span<const GpuLog> run(const Phase&, int64_t first, int n);

    // Of sequences first to first + n - 1; the tensors are on the host. Scores, picked and logits only.
    using OnHost = std::function<void(int first, int n, const Model::Output&)>;
    // `look`, if there is one, sees the outputs.
    Counts evaluate(const Dataset& test, const OnHost& look = {});
    void forget_test_set(); // the same Dataset holds other sequences now

    // In one run. An epoch of the paper's has 250: the host looks once an epoch; in a longer one progress is seen and a
    // signal heard in between.
    static constexpr int most_steps = 512;

private:
    struct Repeated { // work that is the same each time
        bool made = false;
        void* graph = nullptr;
        Repeated() = default;
        Repeated(const Repeated&) = delete;
        ~Repeated();
        template <class F>
        void operator()(F work);
    };
    struct Prepared { // of an objective
        const AdamWRates* schedule = nullptr;
        const uint8_t* frozen = nullptr;
        Repeated step;
    };
    template <class T>
    T* upload(const std::vector<T>&, Arena&);
    GpuSequences upload(const Dataset&, Arena&);
    Prepared& prepare(const Phase&);
    GpuCount count_of(const Model::Output&, const Batch&) const;
    void step(Objective);
    void test_batch();

    const Options options_;
    const int64_t size_, per_epoch_;  // floats; steps
    Arena memory_{Device::cuda};      // what stays
    Arena test_memory_{Device::cuda}; // the test set
    Arena activations_{Device::cuda}, gradients_{Device::cuda};
    Tape tape_{activations_, true, &gradients_}, forward_only_{activations_, false};
    std::unique_ptr<Model> model_, forward_model_;
    std::optional<Budget::Experience> experience_; // of budgeted attention
    int place_length_;
    // On the device:
    float *parameters_, *grad_, *m_, *v_, *routing_weight_;
    int32_t *order_, *hits_;
    GpuStep* at_;
    GpuLog* log_;
    GpuSequences train_;
    GpuBatch batch_;
    GpuSequences test_{};
    const Dataset* tested_ = nullptr; // what test_ is a copy of
    GpuTest* test_at_;
    Model::Output test_output_; // of the batch
    Prepared prepared_[2];
    std::optional<Repeated> test_batch_;
    std::vector<GpuLog> seen_;
};

} // namespace fci
