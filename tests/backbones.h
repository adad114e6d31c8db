// For the tests of pretrained models: the golden folders (tools/golden_backbones.py), their expected outputs, and
// copies that a test may damage.
#pragma once
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>

#include "core/files.h"
#include "core/safetensors.h"
#include "pretrained/backbone.h"
#include "tests/catch.h"
#include "tests/scratch.h"

namespace fci::test {

inline const std::string golden = "tests/golden/backbones/";
inline constexpr const char* models[] = {"gpt_neox",   "gpt_neox_sequential_f16", "mamba",
                                         "mamba_tied", "llama_sharded_bf16",      "llama_tied"};

struct Expected {
    std::vector<int32_t> tokens;
    std::vector<float> hidden; // (layers+1,n,length,width)
    int layers, n, length, width;

    explicit Expected(const std::string& path) {
        const SafetensorsFile file(path);
        const StoredTensor &t = *file.find("tokens"), &h = *file.find("hidden");
        const auto size = [&](size_t i) { return static_cast<int>(h.shape.at(i)); };
        layers = size(0) - 1, n = size(1), length = size(2), width = size(3);
        file.require("tokens", "I32", {n, length});
        file.require("hidden", "F32", h.shape);
        tokens.resize(t.bytes / 4), hidden.resize(h.bytes / 4);
        std::memcpy(tokens.data(), t.data, t.bytes);
        std::memcpy(hidden.data(), h.data, h.bytes);
    }
    const float* of_layer(int l) const { return hidden.data() + int64_t{l} * n * length * width; }
};

inline std::vector<float> hidden(const Backbone& model, const std::vector<int32_t>& tokens, int length, int layer,
                                 Workers& workers, Device device = Device::cpu) {
    const int n = static_cast<int>(tokens.size()) / length;
    std::vector<float> x(tokens.size() * model.shape().width, std::nanf(""));
    model.hidden(tokens.data(), n, length, layer, x.data(), workers, device);
    return x;
}

// The largest |got - expected| relative to the largest |expected|.
inline double off(const std::vector<float>& got, const float* expected) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        if (!std::isfinite(got[i])) return INFINITY;
        most = std::max(most, std::abs(double{got[i]} - expected[i]));
        largest = std::max(largest, std::abs(double{expected[i]}));
    }
    return most / largest;
}

// A copy of a golden folder that a test may damage.
struct Folder : fci::Scratch {
    explicit Folder(const std::string& name) {
        std::filesystem::copy(golden + name, path, std::filesystem::copy_options::recursive);
    }
    void replace(const std::string& file, const std::string& from, const std::string& to) const {
        std::string s = read_file(*this / file);
        const size_t at = s.find(from);
        REQUIRE(at != std::string::npos);
        write_file_atomically(*this / file, s.replace(at, from.size(), to));
    }
    // Saves the file again with its tensors changed.
    void change(const std::function<void(std::vector<StoredTensor>&)>& by,
                const std::string& file = "model.safetensors") const {
        const SafetensorsFile old(*this / file);
        std::vector<StoredTensor> tensors = old.tensors();
        by(tensors);
        write_safetensors(*this / file, tensors);
    }
    void refused(Exit exit, const std::string& part) const {
        expect_error(error_of([&] { Backbone::open(path); }), exit, part);
    }
    void refused(const std::string& part) const { refused(Exit::bad_data, part); }
};

} // namespace fci::test
