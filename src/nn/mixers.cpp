#include "nn/mixers.h"

#include "nn/representation.h"

namespace fci {
namespace {

template <bool causal>
Block transformer_block(ParameterBinder& p, const std::string& name, const BlockShape& s) {
    return {TransformerBlock(p, name, s.d, s.heads, causal)};
}

template <class Mixer>
Block of_heads(ParameterBinder& p, const std::string& name, const BlockShape& s) {
    return {PreNormBlock<Mixer>(p, name, s.d, s.heads)};
}

} // namespace

namespace representation_kinds {

extern const RepresentationKind transformer{
    .name = "transformer", .number = layers, .attends = true, .build = transformer_block<false>};
extern const RepresentationKind causal_transformer{
    .name = "causal-transformer", .number = layers, .attends = true, .build = transformer_block<true>};
extern const RepresentationKind sparse_transformer{
    .name = "sparse-transformer",
    .number = layers,
    .attends = true,
    .build = [](ParameterBinder& p, const std::string& name, const BlockShape& s) -> Block {
        return {PreNormBlock<SparseAttention>(p, name, s.d, s.heads, global_positions(s.length, s.seed))};
    }};
extern const RepresentationKind linear_attention{
    .name = "linear-attention", .number = layers, .attends = true, .build = of_heads<LinearAttention>};
extern const RepresentationKind rank1_attention{
    .name = "rank1-attention", .number = layers, .attends = true, .build = of_heads<Rank1Attention>};
extern const RepresentationKind perceiver{
    .name = "perceiver",
    .number = {"the number of hubs", 1, 512, 1, "16"},
    .attends = true,
    .build = [](ParameterBinder& p, const std::string& name, const BlockShape& s) -> Block {
        return {PreNormBlock<HubAttention>(p, name, s.d, s.heads, static_cast<int>(s.number))};
    }};
extern const RepresentationKind fourier{
    .name = "fourier",
    .number = layers,
    .longest = 16384, // its tables take 4 length^2 bytes
    .build = [](ParameterBinder& p, const std::string& name, const BlockShape& s) -> Block {
        return {PreNormBlock<FourierMixing>(p, name, s.d, s.length)};
    }};

} // namespace representation_kinds
} // namespace fci
