// GpuTrainer: the trainer's step and evaluation on the GPU. The whole batch is one tape; from its third time on a step is
// a replayed graph (the first takes the memory, the second is recorded), and many steps are made between two looks at
// the log. What a run is (parameters, optimiser) lives with the Trainer, in the host's memory: it goes in and comes out
// with each call, so checkpoints, resuming and looking at a model know nothing of the device.
#pragma once
#include <memory>
#include <span>

#include "train/gpu.h"
#include "train/losses.h"
#include "train/options.h"

namespace fci {

class GpuTrainer {
public:
    GpuTrainer(const Options&, const Dataset& train, const std::vector<ParameterInfo>&);
    ~GpuTrainer();

    enum class Objective { training, contrastive };
    struct Phase { // a stretch of steps with one objective, schedule and set of frozen parameters
        Objective objective;
        int64_t steps;                                            // of the whole schedule
        std::vector<std::pair<int64_t, int64_t>> frozen;          // (offset, size)
        const std::vector<int>* order;                            // of this epoch
        double routing_weight;                                    // in this epoch
    };
    // Makes the steps first .. first + n - 1, all of one epoch, and returns what each showed. The last one may have
    // shown a loss or gradient that is not finite: then it was not made, nor those after it.
    std::span<const GpuLog> run(const Phase&, int64_t first, int n, std::vector<float>& parameters, AdamW&);

    struct Hits {
        int64_t at_k = 0, at_1 = 0, right = 0, all = 0;
    };
    Hits evaluate(const Dataset& test, const std::vector<float>& parameters);

    static constexpr int most_steps = 64; // in one run: so that progress is seen and a signal heard

private:
    struct Lane;
    struct Captured;
    template <class T>
    T* upload(const std::vector<T>&);
    GpuSequences upload(const Dataset&);
    GpuBatch room_for(int batch, const Dataset&);
    Batch batch_of(const GpuBatch&) const;
    GpuCount count_of(const Model::Output&, const GpuBatch&, int32_t* hits) const;
    void step(const Phase&);

    const Options& options_;
    Arena memory_{Device::cuda}; // what stays
    int64_t size_;
    float *parameters_, *grad_, *m_, *v_, *routing_weight_;
    uint8_t* frozen_;
    AdamWRates* schedule_;
    int32_t *order_, *hits_;
    GpuStep* at_;
    GpuLog* log_;
    std::vector<GpuLog> seen_;
    int length_, queries_;
    int64_t per_epoch_;
    GpuSequences train_;
    GpuBatch batch_;
    Arena activations_{Device::cuda}, gradients_{Device::cuda};
    Tape tape_{activations_, true, &gradients_}, forward_only_{activations_, false};
    std::unique_ptr<Model> model_, forward_model_;
    const Dataset* test_ = nullptr; // what test_sequences_ is a copy of
    GpuSequences test_sequences_{};
    GpuBatch test_batch_{};
    int32_t* test_hits_ = nullptr;
    // The graph of each objective.
    void* graphs_[2] = {};
    int made_[2] = {}; // steps of it so far
};

} // namespace fci
