// What the families have in common: an embedding, a stack of equal layers, a norm. A sequence goes through a layer by
// one worker, in place, so that its numbers depend on nothing else; a layer's weights are made float32 once for all
// sequences.
//
// A family is a struct Model, of which gpt_neox.cpp is the plainest:
//   Model(const PretrainedConfig&, const PretrainedWeights&)      sizes, or what is wrong with them
//   vocab, width, layers, longest, tied
//   inner                                                         the widest row that a sequence has
//   embedding, head, buffers                                      names in the file
//   Layer(ParameterBinder&, const Model&, int i)                  the tensors of a layer, by the file's names
//   Norm(ParameterBinder&, const Model&), eps                     those of the last norm, called with (NormShape, x, y)
//   Positions, positions(length)                                  what depends on the length alone
//   forward(const Layer&, const Positions&, int length, float* x) one sequence x (length,width) through a layer
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
#include "ops/attention.h"
#include "ops/linear.h"
#include "pretrained/backbone.h"
#include "pretrained/config.h"
#include "pretrained/weights.h"

namespace fci {

// Limits of what a config may say, so that products of sizes stay within 64 bits.
inline constexpr int most_width = 1 << 20, most_layers = 10000, most_vocab = 1 << 28;

// Kinds of weights, and how they start at random.
inline constexpr Init random_matrix{Init::normal, 0.02f}, ones{Init::constant, 1.f}, zeros{Init::constant, 0.f};

inline Tensor matrix(ParameterBinder& p, const std::string& name, int out, int in) {
    return p.add(name + ".weight", {out, in}, random_matrix);
}
inline Tensor bias(ParameterBinder& p, const std::string& name, int out, bool has) {
    return has ? p.add(name + ".bias", {out}, zeros) : Tensor{};
}
struct Affine { // y = W x + b
    Tensor weight, bias;
    Affine(ParameterBinder& p, const std::string& name, int out, int in, bool has_bias)
        : weight(matrix(p, name, out, in)), bias(fci::bias(p, name, out, has_bias)) {}
    void operator()(int rows, const float* x, float* y) const {
        cpu::linear_forward({rows, weight.shape[1], weight.shape[0]}, x, weight.data, bias.data, y);
    }
};

inline void add(int64_t n, const float* z, float* x) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) x[i] += z[i];
}

// Causal attention of one sequence, a head at a time: `shared` heads of queries have one of keys and values (grouped
// queries, [Ainslie et al. 2023]). q y (length,heads,d_head) dense; a head of keys begins at k + head k_step and of
// values at v + head v_step, whose rows are k_stride and v_stride apart.
struct GroupedAttention {
    int length, heads, shared, d_head, k_step, k_stride, v_step, v_stride;
    void operator()(const float* q, const float* k, const float* v, float* y) const {
        const int d = heads * d_head;
        AttentionShape one{1, length, length, 1, d_head, d, k_stride, true};
        one.v_stride = v_stride;
        cpu::Scratch scratch;
        float *of_head = scratch.floats(int64_t{length} * d_head), *lse = scratch.floats(one.lse_size());
        for (int h = 0; h < heads; ++h) {
            const int kv = h / shared;
            cpu::attention_forward(one, q + h * d_head, k + kv * k_step, v + kv * v_step, of_head, lse);
            for (int t = 0; t < length; ++t)
                std::copy_n(of_head + int64_t{t} * d_head, d_head, y + int64_t{t} * d + h * d_head);
        }
    }
};

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

    void hidden(const int32_t* tokens, int n, int length, int layer, float* out, Workers& workers) const override {
        check(n >= 0 && length >= 1 && layer >= 0 && layer <= model_.layers, "hidden: n {}, length {}, layer {} of {}",
              n, length, layer, model_.layers);
        const int computable = INT_MAX / std::max(model_.inner, 256), // the ops index a sequence with int
            longest = shape_.longest ? std::min(shape_.longest, computable) : computable;
        if (length > longest)
            fail(Exit::usage, "sequences of {} tokens are longer than the model's {}: choose a shorter --length",
                 length, longest);
        const int64_t size = int64_t{length} * model_.width;
        workers.run(n, [&](int b, int) {
            for (int t = 0; t < length; ++t) {
                const int32_t id = tokens[int64_t{b} * length + t];
                check(id >= 0 && id < model_.vocab, "hidden: token {} at {} of sequence {}, of {} tokens", id, t, b,
                      model_.vocab);
                weights_.rows(embedding_, id, 1, out + b * size + int64_t{t} * model_.width);
            }
        });
        const auto positions = model_.positions(length);
        for (int i = 0; i < layer; ++i) {
            const Loaded<typename Model::Layer> at(weights_, workers, model_, i);
            workers.run(n, [&](int b, int) {
                model_.forward(at.part(), positions, length, out + b * size);
                expect_finite(out + b * size, size, i);
            });
        }
        if (layer < model_.layers) return;
        const Loaded<typename Model::Norm> norm(weights_, workers, model_);
        workers.run(n, [&](int b, int) {
            cpu::Scratch scratch;
            float *x = out + b * size, *y = scratch.floats(size);
            norm.part()({length, model_.width, model_.eps}, x, y);
            std::copy_n(y, size, x);
        });
    }

    int at_once(int length) const override {
        constexpr int64_t most = int64_t{256} << 20;
        return static_cast<int>(std::clamp<int64_t>(most / (int64_t{length} * model_.width * 4), 1, 4096));
    }

private:
    // A Layer or the Norm with its weights, in memory while it lives.
    template <class Part>
    class Loaded {
    public:
        template <class... Which>
        Loaded(const PretrainedWeights& weights, Workers& workers, Which&&... which) {
            ParameterBinder sizes;
            (void)Part(sizes, which...);
            block_ = std::make_unique_for_overwrite<float[]>(sizes.block_size());
            ParameterBinder binder(block_.get());
            part_.emplace(binder, which...);
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
                float* to = block_.get() + p.of->offset + p.first * PretrainedWeights::row_size(*p.of);
                weights.rows(*p.of, p.first, p.count, to);
            });
        }
        const Part& part() const { return *part_; }

    private:
        std::unique_ptr<float[]> block_;
        std::optional<Part> part_;
    };

    void expect_finite(const float* x, int64_t n, int layer) const {
        float sum = 0; // 0, or NaN
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; ++i) sum += x[i] * 0.f;
        if (sum != 0.f || sum != sum)
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
