// Features: the hidden states that a frozen backbone makes of every sequence of a dataset. They do not change while a
// model on top of them learns, so they are made once and kept in a file, DIR/NAME/features.safetensors, for every run
// and process that asks for them. NAME has hashes of the tokens and of the backbone, the layer, fp16 or fp32, and a
// hash of the build: another compiler, processor or GPU gives other last bits, and a run must not depend on who made
// its features.
//
// The file is a safetensors file of one tensor, "features" (sequences, length, width), F16 or F32, and has the same
// facts in its metadata: any program may read it. It appears when it is whole. Of several processes that want one file
// one makes it, and the others wait. With no folder ("none") features are computed each time that they are read: the
// same numbers, rounded to fp16 where the file would hold that, for many times the work.
#pragma once
#include <functional>

#include "pretrained/backbone.h"
#include "tasks/dataset.h"

namespace fci {

// The backbone in a folder, opened once a process; stored or random weights. Random ones are drawn from the seed 1: as
// the stored ones they are the same for all runs.
std::shared_ptr<const Backbone> shared_backbone(const std::string& folder, bool random);
// What opens one: Backbone::open, or a test's own.
extern std::unique_ptr<Backbone> (*open_backbone)(const std::string& folder, const uint64_t* random);

struct FeatureChoice {
    std::shared_ptr<const Backbone> backbone;
    int layer;                   // 0 to the backbone's layers
    bool half = true;            // fp16, else fp32
    std::string cache;           // DIR; "none": no file
    std::string build;           // names what decides the last bits (train/provenance.h, build_name()); a GPU too
    Device device = Device::cpu; // that computes them
};

// What takes long, to be told to people. `text`: a line; with all > 0 instead: so many of all sequences are done.
using TellFeatures = std::function<void(const std::string& text, int64_t done, int64_t all)>;

// Features of d's sequences. Exit::bad_data: a token that the backbone does not have, a file that is not what its name
// says. Exit::internal: the disk has no room. Exit::non_finite: a hidden state that is not finite, or beyond fp16.
// Exit::interrupted where a SignalGuard's stop_asked().
std::shared_ptr<const SequenceFeatures> features_of(const Dataset& d, const FeatureChoice&, Workers&,
                                                    const TellFeatures& = {});

// The same, handed out part by part, in order: part holds the next n sequences, (n, length, width). They are rounded to
// fp16 where the choice says so; its cache is not looked at.
void make_features(const Dataset&, const FeatureChoice&, Workers&, const TellFeatures&,
                   const std::function<void(const float* part, int n)>& take);

} // namespace fci
