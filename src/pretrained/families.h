// The families of pretrained models: config.json's model_type, and what opens it.
#pragma once
#include <memory>

#include "pretrained/backbone.h"
#include "pretrained/config.h"
#include "pretrained/weights.h"

namespace fci {

using OpenFamily = std::unique_ptr<Backbone>(const PretrainedConfig&, PretrainedWeights);
OpenFamily open_gpt_neox, open_llama, open_mamba;

inline constexpr struct {
    const char* model_type;
    OpenFamily* open;
} families[] = {{"gpt_neox", open_gpt_neox}, {"llama", open_llama}, {"mamba", open_mamba}};

} // namespace fci
