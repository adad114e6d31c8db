// GPT-NeoX, of which Pythia is made  [Black et al. 2022; Biderman et al. 2023]
//   h = LN1 x;   a = W_o attention(R q, R k, v) + b
//   (q k v of head i) = rows i of W_qkv h + b;   R: rotary, of a share of each head
//   x <- x + a + MLP(LN2 x)                        with parallel residual
//   x <- x + a;   x <- x + MLP(LN2 x)              without
//   MLP(y) = W_2 gelu(W_1 y + b) + b
#include "ops/layer_norm.h"
#include "pretrained/families.h"
#include "pretrained/layered.h"
#include "pretrained/positions.h"

namespace fci {
namespace {

struct GptNeox {
    int vocab, width, layers, longest, heads, d_head, mlp, rotated, inner;
    bool tied, parallel, attention_bias;
    float eps;
    double base;
    const std::string embedding = "gpt_neox.embed_in.weight", head = "embed_out.weight";
    const std::vector<std::string> buffers = {".attention.bias", ".attention.masked_bias",
                                              ".attention.rotary_emb.inv_freq"};

    GptNeox(const PretrainedConfig& c, const PretrainedWeights&)
        : vocab(c.integer("vocab_size", 1, most_vocab)), width(c.integer("hidden_size", 1, most_width)),
          layers(c.integer("num_hidden_layers", 1, most_layers)),
          longest(c.integer("max_position_embeddings", 1, INT_MAX)), heads(c.integer("num_attention_heads", 1, width)),
          d_head(width / heads), mlp(c.integer("intermediate_size", 1, most_width)),
          tied(c.flag("tie_word_embeddings", false)), parallel(c.flag("use_parallel_residual", true)),
          attention_bias(c.flag("attention_bias", true)),
          eps(static_cast<float>(c.number("layer_norm_eps", 0, 1, 1e-5))) {
        if (width % heads) c.refuse("hidden_size {} is not a multiple of num_attention_heads {}", width, heads);
        c.expect_word("hidden_act", "gelu", "the others are approximations");
        const auto rotary = c.rotary(c.has("rope_theta") ? "rope_theta" : "rotary_emb_base", "rotary_pct", 0.25);
        base = rotary.base, rotated = static_cast<int>(d_head * rotary.share);
        if (rotated % 2)
            c.refuse("rotary_pct {} rotates {} numbers of a head, which must be an even number", rotary.share, rotated);
        inner = std::max(mlp, 3 * width);
    }

    struct NormPart {
        Tensor weight, bias;
        NormPart(ParameterBinder& p, const std::string& name, int d)
            : weight(p.add(name + ".weight", {d}, ones)), bias(p.add(name + ".bias", {d}, zeros)) {}
        void operator()(Space& at, float eps, const float* x, float* y) const {
            const NormShape s{at.length, weight.shape[0], eps};
            float *mean = at.floats(s.rows), *rstd = at.floats(s.rows);
            FCI_ON(at.device, layer_norm_forward)(s, x, weight.data, bias.data, y, mean, rstd);
        }
    };

    struct Layer {
        NormPart norm1, norm2;
        Affine qkv, out, up, down;
        Layer(ParameterBinder& p, const GptNeox& m, int i) : Layer(p, m, fmt::format("gpt_neox.layers.{}.", i)) {}
        Layer(ParameterBinder& p, const GptNeox& m, const std::string& n)
            : norm1(p, n + "input_layernorm", m.width), norm2(p, n + "post_attention_layernorm", m.width),
              qkv(p, n + "attention.query_key_value", 3 * m.width, m.width, m.attention_bias),
              out(p, n + "attention.dense", m.width, m.width, m.attention_bias),
              up(p, n + "mlp.dense_h_to_4h", m.mlp, m.width, true),
              down(p, n + "mlp.dense_4h_to_h", m.width, m.mlp, true) {}
    };
    struct Norm : NormPart {
        Norm(ParameterBinder& p, const GptNeox& m) : NormPart(p, "gpt_neox.final_layer_norm", m.width) {}
    };

    using Positions = RotaryPositions;
    Positions positions(int length, Device device) const { return {length, rotated, base, device}; }

    void forward(const Layer& l, const Positions& positions, Space& at, float* x) const {
        float *h = at.rows(width), *a = at.rows(width);
        l.norm1(at, eps, x, h);
        attend(l, positions, at, h, a);
        if (!parallel) add(at, width, a, x);
        l.norm2(at, eps, x, h);
        if (parallel) add(at, width, a, x);
        float *u = at.rows(mlp), *g = at.rows(mlp);
        l.up(at, h, u);
        FCI_ON(at.device, gelu_forward)(int64_t{at.length} * mlp, u, g);
        l.down(at, g, a);
        add(at, width, a, x);
    }

    void attend(const Layer& l, const Positions& positions, const Space& outer, const float* h, float* a) const {
        Space at(&outer);
        float *qkv = at.rows(3 * width), *q = at.rows(width), *k = at.rows(width), *v = at.rows(width),
              *y = at.rows(width);
        l.qkv(at, h, qkv);
        RotaryShape turn{1, at.length, heads, d_head, rotated, 3 * d_head, 3 * width};
        positions.rotate(at, turn, qkv, q);
        positions.rotate(at, turn, qkv + d_head, k);
        turn.rotated = 0; // values are only brought together
        positions.rotate(at, turn, qkv + 2 * d_head, v);
        attend_before(at, heads, 1, d_head, q, k, v, y);
        l.out(at, y, a);
    }
};

} // namespace

std::unique_ptr<Backbone> open_gpt_neox(const PretrainedConfig& c, PretrainedWeights w) {
    return std::make_unique<Layered<GptNeox>>(c, std::move(w));
}

} // namespace fci
