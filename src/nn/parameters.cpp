#include "nn/parameters.h"

#include <cmath>

namespace fci {

void initialise(const std::vector<ParameterInfo>& infos, uint64_t seed, float* data) {
    for (size_t i = 0; i < infos.size(); ++i) {
        const ParameterInfo& p = infos[i];
        Rng rng(seed, Stream::init, i);
        float* x = data + p.offset;
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
            }
    }
}

} // namespace fci
