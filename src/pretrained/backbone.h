// A pretrained causal language model whose weights stay as they are: tokens -> hidden states  [Basu 2026, Sec. 3.2]
// It is read from a folder as Hugging Face lays it out: config.json, and model.safetensors or shards with their index.
// The numbers of a family (GPT-NeoX, Mamba, Llama) are in the .cpp file of that name.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/workers.h"

namespace fci {

class Backbone {
public:
    struct Shape {
        std::string family; // gpt_neox, mamba or llama: config.json's model_type
        int vocab, width, layers;
        int longest; // sequence that its positions reach; 0: any
    };

    // Weights are mapped, not read: each is converted to float when its layer is computed. random: the same shape with
    // weights drawn from this seed, the folder's left aside (a control). Exit::bad_data, naming the file and the
    // tensor, for whatever config.json does not describe.
    static std::unique_ptr<Backbone> open(const std::string& folder, const uint64_t* random = nullptr);
    virtual ~Backbone() = default;

    virtual const Shape& shape() const = 0;
    // Of config.json and of all weights' bytes, whichever files they lie in, which takes as long as to read them; with
    // random weights, of the seed in their place.
    virtual uint64_t hash() const = 0;
    // Hidden states (n,length,width) of tokens (n,length), all below vocab: after `layer` blocks; 0 is the embedding,
    // and layers are all of them with the final norm. The same bits for any number of workers, and for any n.
    // out is the host's; the layers are computed on the device, whose bits are its own.
    // Exit::usage for a length beyond `longest`, Exit::non_finite where a layer makes a NaN or Inf; if it
    // may_stop, Exit::interrupted where a SignalGuard's stop_asked().
    virtual void hidden(const int32_t* tokens, int n, int length, int layer, float* out, Workers&, Device device,
                        bool may_stop = false) const = 0;
    // Sequences a call should have: few enough to show progress, at most 64 and states of 256 MB; on a GPU, to which
    // each call copies all weights, at most 1024 and 2 GB.
    virtual int at_once(int length, Device device) const = 0;
};

} // namespace fci
