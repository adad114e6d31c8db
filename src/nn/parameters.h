// Parameters: every learned number of a model in one flat block, with its gradients in another of the same
// layout, so that AdamW, clipping, zeroing and a checkpoint are one pass each  [llm.c].
//
// A model is built from a ParameterBinder that hands out tensors one after another. The first build only
// measures (null pointers); later builds bind the same layout to real blocks: one data block, and one gradient
// block for each gradient group of the trainer.
#pragma once
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"

namespace fci {

// The initial values of a parameter.
struct Init {
    enum Kind {
        constant,  // value
        normal,    // N(0, value)
        uniform,   // U(-value, value)
        log_index, // ln(1 + column): Mamba's A_log, so that A = -1 .. -n
        dt_bias,   // softplus^-1 of a step log-uniform in [1e-3, 0.1]: Mamba's own start
        concepts,  // N(0, value), the same for the `group` rows of a concept (1-5, 6-10, ..), plus N(0, value/2) a row
        identity   // value on the diagonal
    } kind = constant;
    float value = 0;
    int group = 0;
};

struct ParameterInfo {
    std::string name;
    Shape shape;
    int64_t offset; // floats from the start of the block
    Init init;
    bool learned = true; // false: state that neither a gradient nor the optimiser changes
};

class ParameterBinder {
public:
    explicit ParameterBinder(float* data = nullptr, float* grad = nullptr) : data_(data), grad_(grad) {}

    Tensor add(const std::string& name, Shape shape, Init init, bool learned = true) {
        const Tensor t{data_ ? data_ + end_ : nullptr, grad_ ? grad_ + end_ : nullptr, shape};
        infos_.push_back({name, shape, end_, init, learned});
        end_ += (shape.size() + 15) / 16 * 16; // each begins on a cache line; the gap stays zero
        return t;
    }
    const std::vector<ParameterInfo>& infos() const { return infos_; }
    int64_t block_size() const { return end_; } // floats, gaps included

private:
    float *data_, *grad_;
    int64_t end_ = 0;
    std::vector<ParameterInfo> infos_;
};

// Fills the block from the seed; parameter i draws from its own step of Stream::init.
void initialise(const std::vector<ParameterInfo>& infos, uint64_t seed, float* data);

} // namespace fci
