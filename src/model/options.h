// The options of a model, and what fits together. Kinds are by name here: to add or change one recompiles none of those
// that include this.
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
    uint64_t seed = 1; // the run's, by which patterns are drawn; set by resolve
};

std::vector<Option> option_table(ModelOptions&);

// KIND:N, read. Exit::usage, with the nearest name, for anything unknown.
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
