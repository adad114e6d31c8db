// What the families have in common: an embedding, a stack of equal layers, a norm. A sequence goes through a layer
// alone, in place, so that its numbers depend on nothing else: on the CPU by one worker, on a GPU after the others. A
// layer's weights are made float32 once for all sequences.
//
// A family is a struct Model, of which gpt_neox.cpp is the plainest:
//   Model(const PretrainedConfig&, const PretrainedWeights&)      sizes, or what is wrong with them
//   vocab, width, layers, longest, tied
//   inner                                                         the widest row that a sequence has
//   embedding, head, buffers                                      names in the file
//   Layer(ParameterBinder&, const Model&, int i)                  the tensors of a layer, by the file's names
//   Norm(ParameterBinder&, const Model&), eps                     those of the last norm, called (space, eps, x, y)
//   Positions, positions(length, device)                          what depends on the length alone
//   forward(const Layer&, const Positions&, Space&, float* x)     one sequence x (length,width) through a layer
#pragma once
#include <algorithm>
#include <climits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/hash.h"
#include "core/scratch.h"
#include "core/signals.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "pretrained/backbone.h"
#include "pretrained/config.h"
#include "pretrained/weights.h"

namespace fci {

// Limits of what a config may say, so that products of sizes stay within 64 bits.
inline constexpr int most_width = 1 << 20, most_layers = 10000, most_vocab = 1 << 28;

// Kinds of weights, and how they start at random.
inline constexpr Init random_matrix{Init::normal, 0.02f}, ones{Init::constant, 1.f}, zeros{Init::constant, 0.f};

inline Tensor bias(ParameterBinder& p, const std::string& name, int out, bool has) {
    return has ? p.add(name + ".bias", {out}, zeros) : Tensor{};
}

// Where one sequence goes through a layer: its length, a device, and memory there until the end of the block.
class Space {
public:
    const Device device;
    const int length;
    Space(int n, Arena* gpu) : device(gpu ? Device::cuda : Device::cpu), length(n), gpu_(gpu) {
        if (gpu_)
            mark_ = gpu_->mark();
        else
            cpu_.emplace();
    }
    explicit Space(const Space* outer) : Space(outer->length, outer->gpu_) {}
    Space(const Space&) = delete;
    ~Space() {
        if (gpu_) gpu_->release(mark_);
    }
    float* floats(int64_t n) { return gpu_ ? gpu_->floats(n) : cpu_->floats(n); }
    float* rows(int width) { return floats(int64_t{length} * width); }

private:
    Arena* gpu_; // null on the CPU, which has an arena a thread
    Arena::Mark mark_{};
    std::optional<cpu::Scratch> cpu_;
};

struct Affine { // y = W x + b
    Tensor weight, bias;
    Affine(ParameterBinder& p, const std::string& name, int out, int in, bool has_bias)
        : weight(p.add(name + ".weight", {out, in}, random_matrix)), bias(fci::bias(p, name, out, has_bias)) {}
    void operator()(const Space& at, const float* x, float* y) const {
        const LinearShape s{at.length, weight.shape[1], weight.shape[0]};
        FCI_ON(at.device, linear_forward)(s, x, weight.data, bias.data, y);
    }
};

inline void add(const Space& at, int width, const float* z, float* x) {
    FCI_ON(at.device, residual_forward)(int64_t{at.length} * width, x, z, x);
}

template <class Model>
class Layered final : public Backbone {
public:
    Layered(const PretrainedConfig& config, PretrainedWeights weights)
        : model_(config, weights), weights_(std::move(weights)),
          config_hash_(hash64(config.text())), shape_{config.word("model_type", ""), model_.vocab, model_.width,
                                                      model_.layers, model_.longest} {
        ParameterBinder all;
        all.add(model_.embedding, {model_.vocab, model_.width}, random_matrix);
        for (int i = 0; i < model_.layers; ++i) (void)typename Model::Layer(all, model_, i);
        (void)typename Model::Norm(all, model_);
        for (const ParameterInfo& p : all.infos())
            if (&p != &all.infos().front() && p.shape.size() > INT_MAX)
                config.refuse("makes tensor {} {}, which is too large to compute", p.name, p.shape.text());
        std::vector<ParameterInfo> infos = all.infos();
        embedding_ = infos.front();
        ParameterInfo head = embedding_;
        head.name = model_.head;
        if (!model_.tied) infos.push_back(head);
        weights_.expect(infos, model_.buffers, &head);
    }

    const Shape& shape() const override { return shape_; }
    uint64_t hash() const override { // of all bytes: read once
        std::call_once(hashed_, [&] { hash_ = weights_.hash(config_hash_); });
        return hash_;
    }

    void hidden(const int32_t* tokens, int n, int length, int layer, float* out, Workers& workers, Device device,
                bool may_stop) const override {
        check(n >= 0 && length >= 1 && layer >= 0 && layer <= model_.layers, "hidden: n {}, length {}, layer {} of {}",
              n, length, layer, model_.layers);
        const int computable = INT_MAX / std::max(model_.inner, 256), // the ops index a sequence with int
            longest = shape_.longest ? std::min(shape_.longest, computable) : computable;
        if (length > longest)
            fail(Exit::usage, "sequences of {} tokens are longer than the model's {}: choose a shorter --length",
                 length, longest);
        if (device == Device::cuda) return hidden_on_gpu(tokens, n, length, layer, out, workers, may_stop);
        embed(tokens, n, length, out, workers);
        const int64_t size = int64_t{length} * model_.width;
        const auto positions = model_.positions(length, device);
        for (int i = 0; i < layer; ++i) {
            if (may_stop) expect_no_stop();
            const Loaded<typename Model::Layer> at(device, weights_, workers, model_, i);
            workers.run(n, [&](int b, int) {
                Space space(length, nullptr);
                model_.forward(at.part(), positions, space, out + b * size);
                expect_finite(out + b * size, size, i);
            });
        }
        if (layer < model_.layers) return;
        const Loaded<typename Model::Norm> norm(device, weights_, workers, model_);
        workers.run(n, [&](int b, int) {
            Space space(length, nullptr);
            float *x = out + b * size, *y = space.rows(model_.width);
            norm.part()(space, model_.eps, x, y);
            std::copy_n(y, size, x);
        });
    }

    int at_once(int length, Device device) const override {
        const bool gpu = device == Device::cuda;
        const int64_t most = int64_t{gpu ? 2048 : 256} << 20, size = int64_t{length} * model_.width * 4;
        return static_cast<int>(std::clamp<int64_t>(most / size, 1, gpu ? 1024 : 64));
    }

private:
    void embed(const int32_t* tokens, int n, int length, float* out, Workers& workers) const {
        workers.run(n, [&](int b, int) {
            for (int t = 0; t < length; ++t) {
                const int64_t at = int64_t{b} * length + t;
                check(tokens[at] >= 0 && tokens[at] < model_.vocab,
                      "hidden: token {} at {} of sequence {}, of {} tokens", tokens[at], t, b, model_.vocab);
                weights_.rows(embedding_, tokens[at], 1, out + at * model_.width);
            }
        });
    }

    // The sequences lie on the GPU from the embedding to the end. Only if something is not finite then, all is computed
    // again and looked at layer by layer.
    void hidden_on_gpu(const int32_t* tokens, int n, int length, int layer, float* out, Workers& workers,
                       bool may_stop) const {
        constexpr Device gpu = Device::cuda;
        const int64_t size = int64_t{length} * model_.width, all = n * size;
        const auto positions = model_.positions(length, gpu);
        Arena memory(gpu);
        float* x = memory.floats(all);
        const auto compute = [&](bool look) {
            embed(tokens, n, length, out, workers);
            copy_in(gpu, x, out, all * sizeof(float));
            for (int i = 0; i < layer; ++i) {
                if (may_stop) expect_no_stop();
                const Loaded<typename Model::Layer> at(gpu, weights_, workers, model_, i);
                for (int b = 0; b < n; ++b) {
                    Space space(length, &memory);
                    model_.forward(at.part(), positions, space, x + b * size);
                }
                if (look || i + 1 == layer) copy_out(gpu, out, x, all * sizeof(float));
                if (look) expect_finite(out, all, i);
            }
            if (layer < model_.layers) return;
            const Loaded<typename Model::Norm> norm(gpu, weights_, workers, model_);
            for (int b = 0; b < n; ++b) {
                Space space(length, &memory);
                float* y = space.rows(model_.width);
                norm.part()(space, model_.eps, x + b * size, y);
                copy_out(gpu, out + b * size, y, size * sizeof(float));
            }
        };
        compute(false);
        if (Tape::finite(out, all)) return;
        compute(true);
        expect_finite(out, all, model_.layers - 1);
    }

    // A Layer or the Norm with its weights, in memory while it lives.
    template <class Part>
    class Loaded {
    public:
        template <class... Which>
        Loaded(Device device, const PretrainedWeights& weights, Workers& workers, Which&&... which) : memory_(device) {
            ParameterBinder sizes;
            (void)Part(sizes, which...);
            float* const block = memory_.floats(sizes.block_size());
            ParameterBinder binder(block);
            part_.emplace(binder, which...);
            std::unique_ptr<float[]> on_host; // first
            if (device == Device::cuda) on_host = std::make_unique_for_overwrite<float[]>(sizes.block_size());
            float* const read = on_host ? on_host.get() : block;
            struct Piece {
                const ParameterInfo* of;
                int first, count;
            };
            std::vector<Piece> pieces;
            for (const ParameterInfo& p : sizes.infos()) {
                const int rows = p.shape[0], step = static_cast<int>(1 + (1 << 18) / PretrainedWeights::row_size(p));
                for (int r = 0; r < rows; r += step) pieces.push_back({&p, r, std::min(step, rows - r)});
            }
            workers.run(static_cast<int>(pieces.size()), [&](int i, int) {
                const Piece& p = pieces[i];
                weights.rows(*p.of, p.first, p.count,
                             read + p.of->offset + p.first * PretrainedWeights::row_size(*p.of));
            });
            if (on_host) copy_in(device, block, read, sizes.block_size() * sizeof(float));
        }
        const Part& part() const { return *part_; }

    private:
        Arena memory_;
        std::optional<Part> part_;
    };

    static void expect_no_stop() {
        if (stop_asked())
            fail(Exit::interrupted, "stopped while the pretrained model was computing; its features start over");
    }
    void expect_finite(const float* x, int64_t n, int layer) const {
        if (!Tape::finite(x, n))
            fail(Exit::non_finite, "layer {} of the pretrained model produces a NaN or Inf: are its weights damaged?",
                 layer + 1);
    }

    Model model_;
    PretrainedWeights weights_;
    uint64_t config_hash_;
    mutable std::once_flag hashed_;
    mutable uint64_t hash_ = 0;
    Shape shape_;
    ParameterInfo embedding_;
};

} // namespace fci
