#include "nn/parameters.h"

#include <cmath>

namespace fci {
namespace {

// A concept is `size` consecutive tokens, from token 1 on; token 0 belongs to none.
void initialise_concepts(Rng& rng, const Shape& shape, float deviation, int size, float* x) {
    std::vector<float> centroid(shape[1]);
    for (int row = 0; row < shape[0]; ++row) {
        if (row == 0 || row % size == 1)
            for (float& c : centroid) c = deviation * rng.normal();
        for (int c = 0; c < shape[1]; ++c) x[row * shape[1] + c] = centroid[c] + 0.5f * deviation * rng.normal();
    }
}

} // namespace

void initialise(const std::vector<ParameterInfo>& infos, uint64_t seed, float* data) {
    for (size_t i = 0; i < infos.size(); ++i) {
        const ParameterInfo& p = infos[i];
        Rng rng(seed, Stream::init, i);
        float* x = data + p.offset;
        if (p.init.kind == Init::concepts) {
            initialise_concepts(rng, p.shape, p.init.value, p.init.group, x);
            continue;
        }
        for (int64_t j = 0; j < p.shape.size(); ++j) switch (p.init.kind) {
            case Init::constant:
                x[j] = p.init.value;
                break;
            case Init::normal:
                x[j] = p.init.value * rng.normal();
                break;
            case Init::uniform:
                x[j] = rng.uniform(-p.init.value, p.init.value);
                break;
            case Init::log_index:
                x[j] = std::log(1.f + static_cast<float>(j % p.shape[p.shape.rank - 1]));
                break;
            case Init::dt_bias: {
                const double dt = std::exp(std::log(1e-3) + (std::log(0.1) - std::log(1e-3)) * rng.uniform64());
                x[j] = static_cast<float>(dt + std::log(-std::expm1(-dt))); // softplus(x) = dt
                break;
            }
            case Init::identity:
                x[j] = j % p.shape.n[1] == j / p.shape.n[1] ? p.init.value : 0.f;
                break;
            case Init::concepts:
                break; // above
            }
    }
}

} // namespace fci
