// The options of a model, and their checks. Kinds are referred to by name here: adding or changing one recompiles no
// file that includes this.
#pragma once
#include "core/option.h"

namespace fci {

struct RepresentationKind; // nn/representation.h
struct RouterKind;         // routing/router.h

struct ModelOptions {
    std::string representation = "transformer:1"; // KIND or KIND:N
    std::string router = "investigator";          // see router_names()
    std::string positions = "everywhere";         // everywhere | in_mixer | none: who gets position embeddings
    std::string embeddings = "learned";           // learned | structured | anchors: the token embeddings
    bool mean_residual = false;                   // global-mean: h_j = x_j + W mean(x) + b
    bool router_norm = false;                     // the router sees LN x; the Council sees x all the same
    int d_model = 128, heads = 4, top_k = 4;
    // A frozen pretrained model, whose features replace the token embeddings (src/pretrained).
    std::string backbone;                    // its folder; empty: none. A run is identified not by the folder
    std::string backbone_hash;               // but by the hash of its contents; empty: not known yet
    int backbone_layer = -1;                 // whose features: -1 the last, after the final norm; 0 the embedding
    std::string backbone_weights = "stored"; // stored | random: the same shape, random weights
    std::string backbone_width = "native";   // native, or the width of a learned linear map's output
    std::string backbone_precision = "fp16"; // fp16 | fp32: of the features
    int feature_width = 0;                   // the backbone's own; set by resolve
    uint64_t seed = 1;                       // the run's, for patterns that are random; set by resolve

    bool has_backbone() const { return !backbone.empty(); }
};

std::vector<Option> option_table(ModelOptions&);

// KIND:N, parsed. Exit::usage, with the nearest name, for anything unknown.
struct Mixing {
    const RepresentationKind* kind;
    double number; // N

    explicit Mixing(const std::string& representation);
    int blocks() const;
    std::string text() const; // in full: transformer:1, perceiver:16, budgeted-attention:0.5, raw
};

const std::vector<const RepresentationKind*>& representations(); // all
const std::vector<const RouterKind*>& routers();
std::vector<std::string> router_names();                  // those that --router takes
const RouterKind& router_kind(const std::string& router); // Exit::usage, with the nearest name

bool has_positions(const ModelOptions&); // whether there are position embeddings

// Checks the options against a task's vocabulary and length (no_length: not known yet); throws Exit::usage with the
// remedy.
constexpr int no_length = 1 << 20;
void check_model(const ModelOptions&, int vocab, int length);

} // namespace fci
