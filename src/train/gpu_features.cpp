#include "train/gpu_features.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "core/half.h"
#include "core/signals.h"

namespace fci {

GpuFeatures::GpuFeatures(const Dataset& d, bool half, Arena& memory, GpuSequences& of, Workers& workers)
    : of_(d), workers_(workers), numbers_(int64_t{d.length} * d.features->width) {
    const size_t bytes = numbers_ * (half ? sizeof(uint16_t) : sizeof(float));
    all_there_ = d.count * bytes <= cuda::free_bytes() / 2;
    of.features = nullptr;
    if (!all_there_) return;
    char* const to = memory.array<char>(d.count * bytes);
    const int most = std::clamp(static_cast<int>((int64_t{64} << 20) / static_cast<int64_t>(bytes)), 1, d.count);
    std::vector<int> sequences(most);
    std::vector<uint16_t> halves(half ? most * numbers_ : 0);
    for (int first = 0; first < d.count; first += most) {
        if (stop_asked()) fail(Exit::interrupted, "stopped while the backbone's features were copied to the GPU");
        const int n = std::min(most, d.count - first);
        std::iota(sequences.begin(), sequences.end(), first);
        read(sequences.data(), n);
        if (half) std::transform(read_.begin(), read_.begin() + n * numbers_, halves.begin(), float_to_half);
        const void* from = half ? static_cast<const void*>(halves.data()) : read_.data();
        copy_in(Device::cuda, to + first * bytes, from, n * bytes);
    }
    read_ = {};
    of.features = to, of.half = half;
}

void GpuFeatures::read(const int* sequences, int n) {
    read_.resize(n * numbers_);
    workers_.run(n, [&](int i, int) { of_.features->read(sequences + i, 1, read_.data() + i * numbers_); });
}

void GpuFeatures::send(const int* sequences, int n, const GpuBatch& batch) {
    if (all_there_) return;
    read(sequences, n);
    copy_in(Device::cuda, batch.features, read_.data(), n * numbers_ * sizeof(float));
}

} // namespace fci
