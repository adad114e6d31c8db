#include "cuda/ladder/ladder.cuh"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/arena.h"
#include "core/check.h"

namespace fci::cuda {

Ladder::Buffer::Buffer(size_t n)
    : data(static_cast<float*>(fci::allocate(Device::cuda, n * sizeof(float), Arena::alignment))), size(n) {}
Ladder::Buffer::~Buffer() { fci::release(Device::cuda, data); }

std::vector<float> Ladder::random(size_t n, float low, float high) {
    Rng rng(0, Stream::pattern, drawn_++);
    std::vector<float> x(n);
    for (float& v : x) v = rng.uniform(low, high);
    return x;
}

float* Ladder::scratch(size_t n) { return buffers_.emplace_back(n).data; }

float* Ladder::input(const std::vector<float>& host) {
    float* p = scratch(host.size());
    copy_in(p, host.data(), host.size() * sizeof(float));
    synchronize();
    bytes_ += host.size() * sizeof(float);
    return p;
}

float* Ladder::result(const char* name, std::vector<float> expected, int terms, bool added_to) {
    float* p = scratch(expected.size());
    bytes_ += (added_to ? 2. : 1.) * expected.size() * sizeof(float);
    results_.push_back({name, p, std::move(expected), terms, added_to});
    return p;
}

void Ladder::clear() {
    for (const Result& r : results_) {
        const std::vector<float> start(r.expected.size(), r.added_to ? 0.f : std::numeric_limits<float>::quiet_NaN());
        copy_in(r.data, start.data(), start.size() * sizeof(float));
        synchronize();
    }
}

std::string Ladder::check(const Step& step) {
    clear();
    step.launch();
    for (const Result& r : results_) {
        std::vector<float> got(r.expected.size());
        copy_out(got.data(), r.data, got.size() * sizeof(float));
        float largest = 0;
        for (float v : r.expected) largest = std::max(largest, std::abs(v));
        const float allowed = r.terms * std::numeric_limits<float>::epsilon() * largest;
        for (size_t i = 0; i < got.size(); ++i)
            if (!(std::abs(got[i] - r.expected[i]) <= allowed))
                return fmt::format("{}, {}: {}[{}] is {:.9g}, expected {:.9g}, allowed {:.3g}", what_, step.name,
                                   r.name, i, got[i], r.expected[i], allowed);
    }
    return "";
}

} // namespace fci::cuda
