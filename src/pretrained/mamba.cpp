// Mamba  [Gu & Dao 2023, Fig. 3 and Alg. 2]; its equations are in nn/mamba.h:
//   x <- x + W_out (scan(u, dt, -exp(A_log), B, C, D) gated by silu(z)),   (u, z) = W_in RMSNorm x, u through the
//   convolution
// Sizes inside a layer are the tensors': the config of the published 370M has a wrong d_inner.
#include "ops/causal_conv1d.h"
#include "ops/gated_scan.h"
#include "pretrained/families.h"
#include "pretrained/layered.h"
#include "pretrained/rms.h"

namespace fci {
namespace {

struct MambaModel {
    int vocab, width, layers, longest = 0, d_inner, state, rank, conv_width, inner;
    bool tied, projection_bias, conv_bias;
    float eps;
    std::string embedding = "backbone.embeddings.weight";
    const std::string head = "lm_head.weight";
    const std::vector<std::string> buffers = {};

    MambaModel(const PretrainedConfig& c, const PretrainedWeights& w)
        : vocab(c.integer("vocab_size", 1, most_vocab)), width(c.integer("hidden_size", 1, most_width)),
          layers(c.integer("num_hidden_layers", 1, most_layers)), tied(c.flag("tie_word_embeddings", true)),
          projection_bias(c.flag("use_bias", false)), conv_bias(c.flag("use_conv_bias", true)),
          eps(static_cast<float>(c.number("layer_norm_epsilon", 0, 1, 1e-5))) {
        c.expect_word("hidden_act", "silu", "Mamba's gate and convolution have no other");
        const int expand = c.integer("expand", 1, 64, 2);
        const auto size = [&](const char* name, size_t dimension, const char* key, int otherwise) {
            const std::vector<int64_t>* shape = w.shape(fmt::format("backbone.layers.0.mixer.{}", name));
            if (!shape || shape->size() <= dimension) return c.integer(key, 1, most_width, otherwise);
            if ((*shape)[dimension] < 1 || (*shape)[dimension] > most_width)
                c.refuse("mixer.{} is ({}), which is not the shape in a Mamba model", name, fmt::join(*shape, ","));
            return static_cast<int>((*shape)[dimension]);
        };
        d_inner = size("A_log", 0, "intermediate_size", std::min(most_width, expand * width));
        state = size("A_log", 1, "state_size", 16);
        rank = size("dt_proj.weight", 1, "time_step_rank", (width + 15) / 16);
        conv_width = size("conv1d.weight", 2, "conv_kernel", 4);
        inner = std::max({2 * d_inner, state, rank, width});
        const std::string old = "backbone.embedding.weight"; // its name in early versions
        if (w.shape(old)) embedding = old;
    }

    struct Layer {
        RmsPart norm;
        Affine in;
        Tensor conv, conv_bias;
        Affine x_proj;
        Tensor dt, dt_bias, A_log, D;
        Affine out;
        Layer(ParameterBinder& p, const MambaModel& m, int i) : Layer(p, m, fmt::format("backbone.layers.{}.", i)) {}
        Layer(ParameterBinder& p, const MambaModel& m, const std::string& n)
            : norm(p, n + "norm", m.width), in(p, n + "mixer.in_proj", 2 * m.d_inner, m.width, m.projection_bias),
              conv(p.add(n + "mixer.conv1d.weight", {m.d_inner, 1, m.conv_width}, start(m.conv_width))),
              conv_bias(m.conv_bias ? p.add(n + "mixer.conv1d.bias", {m.d_inner}, start(m.conv_width)) : Tensor{}),
              x_proj(p, n + "mixer.x_proj", m.rank + 2 * m.state, m.d_inner, false),
              dt(p.add(n + "mixer.dt_proj.weight", {m.d_inner, m.rank}, start(m.rank))),
              dt_bias(p.add(n + "mixer.dt_proj.bias", {m.d_inner}, {Init::dt_bias})),
              A_log(p.add(n + "mixer.A_log", {m.d_inner, m.state}, {Init::log_index})),
              D(p.add(n + "mixer.D", {m.d_inner}, ones)),
              out(p, n + "mixer.out_proj", m.width, m.d_inner, m.projection_bias) {}
        static Init start(int n) { return {Init::uniform, 1.f / std::sqrt(static_cast<float>(n))}; }
    };
    struct Norm : RmsPart {
        Norm(ParameterBinder& p, const MambaModel& m) : RmsPart(p, "backbone.norm_f", m.width) {}
    };

    struct Positions {};
    Positions positions(int, Device) const { return {}; }

    void forward(const Layer& l, const Positions&, Space& at, float* x) const {
        const GatedScanShape s{1, at.length, d_inner, state, rank};
        float *h = at.rows(width), *v = at.rows(d_inner), *u = at.rows(d_inner), *z = at.rows(d_inner);
        float *y = at.rows(d_inner), *low = at.rows(rank + 2 * state);
        l.norm(at, eps, x, h);
        // Rows of a joint projection are projections of their own: no columns to split afterwards.
        const auto rows = [&](Tensor w, Tensor b, int begin, int end, const float* from, float* to) {
            const LinearShape product{at.length, w.shape[1], end - begin};
            FCI_ON(at.device, linear_forward)
            (product, from, w.row_range(begin, end).data, b ? b.data + begin : nullptr, to);
        };
        rows(l.in.weight, l.in.bias, 0, d_inner, h, v);
        rows(l.in.weight, l.in.bias, d_inner, 2 * d_inner, h, z);
        ConvDirection<float> filter{};
        filter.x = v, filter.w = l.conv.data, filter.bias = l.conv_bias.data, filter.y = u;
        if (!filter.bias) {
            float* none = at.floats(d_inner);
            set_zero(at.device, none, d_inner * sizeof(float));
            filter.bias = none;
        }
        Directions<ConvDirection<float>> filters;
        filters.add(filter);
        FCI_ON(at.device, causal_conv1d_forward)({1, at.length, d_inner, conv_width}, filters);
        l.x_proj(at, u, low);
        GatedScanDirection<float> scan{};
        scan.u = u, scan.low = low, scan.z = z, scan.y = y;
        scan.kept = at.device == Device::cpu ? at.floats(s.kept_size()) : nullptr;
        scan.dt_weight = l.dt.data, scan.dt_bias = l.dt_bias.data, scan.A_log = l.A_log.data, scan.D = l.D.data;
        Directions<GatedScanDirection<float>> scans;
        scans.add(scan);
        FCI_ON(at.device, gated_scan_forward)(s, scans);
        l.out(at, y, h);
        add(at, width, h, x);
    }
};

} // namespace

std::unique_ptr<Backbone> open_mamba(const PretrainedConfig& c, PretrainedWeights w) {
    return std::make_unique<Layered<MambaModel>>(c, std::move(w));
}

} // namespace fci
