// GpuStepper: the step and the evaluation on the GPU. The whole batch is one tape; from its second run on a step, or a
// batch of a test, is a replayed graph (the first run sizes the arenas), and the host reads the log after many of them.
//
// Ownership. Data, activations and gradients are on the device alone. Parameters and the optimiser's moments have a
// place on both sides: edit() hands out the host's, run() changes and evaluate() reads the device's, and each fetches
// or sends them only if the other side is ahead. Nothing else moves them, so between two checkpoints the host gets the
// log and the counts alone. One thread makes all calls: its stream orders them.
#pragma once
#include "train/cpu_stepper.h"
#include "train/gpu.h"
#include "train/gpu_features.h"

namespace fci {

class GpuStepper final : public Stepper {
public:
    // on_host: of the same numbers; for the closer look, and to name the op that is not finite. workers: for reading a
    // backbone's features, which `train` must have at the first step. References must outlive it.
    GpuStepper(const Options&, const Dataset& train, Numbers&, CpuStepper& on_host, Workers& workers);

    std::span<const Shown> run(const Phase&, int64_t first, int64_t n) override;
    std::string not_finite(const Phase&, int64_t step) override;
    Counts evaluate(const Dataset&, bool closely) override;
    void forget_test_set() override;
    const Numbers& numbers() override;
    Numbers& edit() override;
    bool on_host() const override { return newest_ != Side::gpu; }

    // In one run. An epoch of the paper's has 250: the host looks once an epoch; in a longer one progress is seen and a
    // signal heard in between.
    static constexpr int most_steps = 512;

private:
    enum class Side { host, gpu, both }; // who has the numbers as they are now
    struct Repeated {                    // work that is the same each time
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
    size_t gradient_bytes() const;
    void put(); // the numbers to the device, if need be
    Prepared& prepare(const Phase&);
    GpuCount count_of(const Model::Output&, const Batch&) const;
    void step(Objective);
    void test_batch();
    Counts look_closely(const Dataset&, int first, int n) const; // of the batch whose test was just made

    bool half_features() const { return options_.model.backbone_precision == "fp16"; }

    const Options& options_;
    const Dataset& train_set_;
    Numbers& numbers_;
    CpuStepper& on_host_;
    Workers& workers_;
    Side newest_ = Side::host;
    const int64_t size_, per_epoch_;  // floats; steps
    Arena memory_{Device::cuda};      // what stays
    Arena test_memory_{Device::cuda}; // the test set
    Arena activations_{Device::cuda}, gradients_{Device::cuda};
    Tape tape_{activations_, true, &gradients_}, forward_only_{activations_, false};
    std::unique_ptr<Model> model_, forward_model_;
    std::optional<Budget::Observations> observed_; // of budgeted attention
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
    std::optional<GpuFeatures> train_features_, test_features_; // of a backbone
    std::vector<GpuLog> seen_;
    std::vector<Shown> shown_;
};

} // namespace fci
