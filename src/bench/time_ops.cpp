// Times the table of ops on the CPU: all workers at once. The GPU's half is gpu.cpp.
#include <unistd.h>

#include "bench/lane.h"

namespace fci {

using namespace bench;
using Lane = BenchOp::Lane;

Lane::Lane(int worker, Device on, int sequences) : device(on), batch(sequences) {
    std::vector<float> host(slot);
    const auto filled = [&](const std::vector<float>& from) {
        float* p = arena.floats(from.size());
        copy_in(device, p, from.data(), from.size() * sizeof(float));
        return p;
    };
    const auto zeros = [&](int64_t n) {
        float* p = arena.floats(n);
        set_zero(device, p, n * sizeof(float));
        return p;
    };
    for (float*& p : x) {
        fill_normal(host.data(), slot, 10 * worker + (&p - x));
        p = filled(host);
    }
    for (float*& p : y) p = zeros(slot);
    for (float*& p : g) p = zeros(slot);
    Rng rng(1, Stream::pattern, 1000 + worker);
    for (float& v : host) v = rng.uniform(0.001f, 0.1f);
    dt = filled(host);
    host.resize(inner * states);
    for (int i = 0; i < inner * states; ++i) host[i] = -1.f - static_cast<float>(i % states);
    A = filled(host);
    far = zeros(units * unit);
    std::vector<int32_t> ids(static_cast<size_t>(batch) * L);
    for (int32_t& id : ids) id = rng.between(0, vocab);
    index = arena.array<int32_t>(ids.size());
    copy_in(device, index, ids.data(), ids.size() * sizeof(int32_t));
    if (device == Device::cpu) return;
    const std::vector<AdamWRates> rates(most_updates, AdamW(0).rates(1, {1e-4, 0.9}));
    update = {arena.array<GpuStep>(1), arena.array<GpuLog>(1), arena.array<AdamWRates>(most_updates),
              arena.array<int32_t>(4 * batch)};
    copy_in(device, update.schedule, rates.data(), most_updates * sizeof(AdamWRates));
    set_zero(device, update.step, sizeof(GpuStep));
    set_zero(device, update.hits, 4 * batch * sizeof(int32_t));
}

namespace {

// The three that run once a step and spread over the workers by themselves.
double seconds_once(Together& together, const std::string& name) {
    std::vector<float> data(parameters, 0.1f), grads(int64_t{parameters} * groups, 1e-3f);
    std::vector<float*> blocks;
    std::vector<double> partial(slices(parameters));
    AdamW optimiser(parameters);
    int64_t step = 0;
    for (int g = 0; g < groups; ++g) blocks.push_back(grads.data() + int64_t{g} * parameters);
    Workers& workers = together.workers();
    return together.seconds_alone([&] {
        if (name == "zero_groups")
            workers.run(groups, [&](int g, int) { std::memset(blocks[g], 0, parameters * sizeof(float)); });
        else if (name == "sum_and_norm")
            sum_and_norm(blocks, parameters, partial, workers);
        else
            optimiser.step(++step, {1e-4, 0.9}, 1.f, blocks[0], data.data(), workers);
    });
}

} // namespace

std::shared_ptr<BenchOp::Lane> make_lane(Device device, int batch) {
    return std::make_shared<BenchOp::Lane>(0, device, batch);
}

std::vector<double> copy_rates(Together& together, int samples) {
    double bytes = 256 << 20; // of all buffers together
#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = std::clamp(2.0 * static_cast<double>(sysconf(_SC_LEVEL3_CACHE_SIZE)), bytes, 1024.0 * (1 << 20));
#endif
    const auto size = static_cast<size_t>(bytes / 2 / together.count() / 64) * 64;
    Arena arena;
    std::vector<char*> from, to;
    for (int i = 0; i < together.count(); ++i) {
        from.push_back(arena.array<char>(size)), to.push_back(arena.array<char>(size));
        std::memset(from[i], 1, size);
    }
    std::vector<double> rates;
    for (int s = 0; s < samples; ++s) {
        const double seconds = together.seconds([&](int i) { std::memcpy(to[i], from[i], size); }, 3);
        rates.push_back(2e-9 * static_cast<double>(size) * together.count() / seconds);
    }
    return rates;
}

std::vector<double> time_ops(Together& together, const std::vector<BenchOp>& ops,
                             const std::function<void(const BenchOp&)>& between) {
    std::vector<std::unique_ptr<Lane>> lanes;
    for (int w = 0; w < together.count(); ++w) lanes.push_back(std::make_unique<Lane>(w, Device::cpu, 1));
    std::vector<double> seconds;
    for (const BenchOp& o : ops) {
        between(o);
        if (o.once) {
            seconds.insert(seconds.end(), {seconds_once(together, o.name), 0});
            continue;
        }
        for (const auto& run : {o.run_forward, o.run_backward}) // backward reads what forward saved
            seconds.push_back(run ? together.seconds([&](int i) { run(*lanes[i]); }) : 0);
    }
    return seconds;
}

} // namespace fci
