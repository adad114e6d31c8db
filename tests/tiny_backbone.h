// A backbone for tests, with numbers that are easy to recompute, loaded in the same way as pretrained ones. Its hidden
// states have width 16: the token's embedding, then `layer` times the embedding of the token before.
#pragma once
#include <atomic>
#include <cstring>
#include <fstream>

#include "core/files.h"
#include "core/safetensors.h"
#include "pretrained/features.h"
#include "tests/scratch.h"

namespace fci {

class TinyBackbone final : public Backbone {
public:
    static constexpr int vocab = 48, half = 8, width = 2 * half, layers = 2, longest = 64;
    static constexpr int huge = 47;          // a token with values beyond fp16
    static inline std::atomic<int> made = 0; // number of sequences

    // A folder with such a backbone; its file holds only the seed. While a Folder exists, folders are opened as
    // TinyBackbones.
    struct Folder : Scratch {
        explicit Folder(uint64_t seed = 5) {
            write_file_atomically(*this / "config.json", std::to_string(seed));
            open_backbone = [](const std::string& folder, const uint64_t* random) -> std::unique_ptr<Backbone> {
                return std::make_unique<TinyBackbone>(random ? *random
                                                             : std::stoull(read_file(folder + "/config.json")));
            };
        }
        ~Folder() { open_backbone = Backbone::open; }
    };

    explicit TinyBackbone(uint64_t seed) : seed_(seed), table_(vocab * half) {
        Rng rng(seed, Stream::init, 0);
        for (float& x : table_) x = rng.normal();
        for (int c = 0; c < half; ++c) table_[huge * half + c] = 1e6f;
    }
    const Shape& shape() const override {
        static const Shape s{"tiny", vocab, width, layers, longest};
        return s;
    }
    uint64_t hash() const override { return 1000 + seed_; }
    int at_once(int, Device) const override { return 3; }
    void hidden(const int32_t* tokens, int n, int length, int layer, float* out, Workers& workers, Device,
                bool) const override {
        made += n;
        workers.run(n, [&](int i, int) {
            for (int t = 0; t < length; ++t) {
                const int32_t* token = tokens + int64_t{i} * length + t;
                float* to = out + (int64_t{i} * length + t) * width;
                std::memcpy(to, &table_[*token * half], half * sizeof(float));
                for (int c = 0; c < half; ++c)
                    to[half + c] = t ? static_cast<float>(layer) * table_[token[-1] * half + c] : 0.f;
            }
        });
    }

private:
    uint64_t seed_;
    std::vector<float> table_;
};

} // namespace fci
