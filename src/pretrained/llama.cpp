// Llama, of which SmolLM2 is made  [Touvron et al. 2023]
//   x <- x + W_o attention(R W_q h, R W_k h, W_v h),  h = RMSNorm x    grouped queries, R: rotary of whole heads
//   x <- x + W_down (W_up h silu(W_gate h)),          h = RMSNorm x    SwiGLU [Shazeer 2020], which is the op gate
#include "pretrained/families.h"
#include "pretrained/layered.h"
#include "pretrained/positions.h"
#include "pretrained/rms.h"

namespace fci {
namespace {

struct Llama {
    int vocab, width, layers, longest, heads, kv_heads, d_head, mlp, inner;
    bool tied;
    float eps;
    double base;
    const std::string embedding = "model.embed_tokens.weight", head = "lm_head.weight";
    const std::vector<std::string> buffers = {".rotary_emb.inv_freq"};

    Llama(const PretrainedConfig& c, const PretrainedWeights&)
        : vocab(c.integer("vocab_size", 1, most_vocab)), width(c.integer("hidden_size", 1, most_width)),
          layers(c.integer("num_hidden_layers", 1, most_layers)),
          longest(c.integer("max_position_embeddings", 1, INT_MAX)), heads(c.integer("num_attention_heads", 1, width)),
          kv_heads(c.integer("num_key_value_heads", 1, heads, heads)),
          d_head(c.integer("head_dim", 1, most_width / heads, std::max(1, width / heads))),
          mlp(c.integer("intermediate_size", 1, most_width)), tied(c.flag("tie_word_embeddings", false)),
          eps(static_cast<float>(c.number("rms_norm_eps", 0, 1, 1e-6))) {
        if (heads % kv_heads)
            c.refuse("num_attention_heads {} is not a multiple of num_key_value_heads {}", heads, kv_heads);
        if (!c.has("head_dim") && width % heads)
            c.refuse("hidden_size {} is not a multiple of num_attention_heads {}", width, heads);
        c.expect_word("hidden_act", "silu", "the MLP is SwiGLU");
        c.expect_flag("attention_bias", false, false, "Llama's own models have no biases");
        c.expect_flag("mlp_bias", false, false, "Llama's own models have no biases");
        const auto rotary = c.rotary("rope_theta", "", 1);
        base = rotary.base;
        if (rotary.share != 1 || d_head % 2)
            c.refuse("rotary positions must cover whole heads of an even size, not {}", d_head);
        inner = std::max({mlp, heads * d_head, width});
    }

    struct Layer {
        RmsPart norm1, norm2;
        Affine q, k, v, out, gate, up, down;
        Layer(ParameterBinder& p, const Llama& m, int i) : Layer(p, m, fmt::format("model.layers.{}.", i)) {}
        Layer(ParameterBinder& p, const Llama& m, const std::string& n)
            : norm1(p, n + "input_layernorm", m.width), norm2(p, n + "post_attention_layernorm", m.width),
              q(p, n + "self_attn.q_proj", m.heads * m.d_head, m.width, false),
              k(p, n + "self_attn.k_proj", m.kv_heads * m.d_head, m.width, false),
              v(p, n + "self_attn.v_proj", m.kv_heads * m.d_head, m.width, false),
              out(p, n + "self_attn.o_proj", m.width, m.heads * m.d_head, false),
              gate(p, n + "mlp.gate_proj", m.mlp, m.width, false), up(p, n + "mlp.up_proj", m.mlp, m.width, false),
              down(p, n + "mlp.down_proj", m.width, m.mlp, false) {}
    };
    struct Norm : RmsPart {
        Norm(ParameterBinder& p, const Llama& m) : RmsPart(p, "model.norm", m.width) {}
    };

    using Positions = RotaryPositions;
    Positions positions(int length, Device device) const { return {length, d_head, base, device}; }

    void forward(const Layer& l, const Positions& positions, Space& at, float* x) const {
        float *h = at.rows(width), *a = at.rows(width);
        l.norm1(at, eps, x, h);
        attend(l, positions, at, h, a);
        add(at, width, a, x);
        l.norm2(at, eps, x, h);
        float *u = at.rows(mlp), *g = at.rows(mlp), *y = at.rows(mlp);
        l.up(at, h, u);
        l.gate(at, h, g);
        FCI_ON(at.device, gate_forward)(int64_t{at.length} * mlp, u, g, y);
        l.down(at, y, a);
        add(at, width, a, x);
    }

    void attend(const Layer& l, const Positions& positions, const Space& outer, const float* h, float* a) const {
        const int kv = kv_heads * d_head, qd = heads * d_head;
        Space at(&outer);
        float *q = at.rows(qd), *k = at.rows(kv), *v = at.rows(kv), *y = at.rows(qd);
        float *turned_q = at.rows(qd), *turned_k = at.rows(kv);
        l.q(at, h, q);
        l.k(at, h, k);
        l.v(at, h, v);
        positions.rotate(at, {1, at.length, heads, d_head, d_head, d_head, qd}, q, turned_q);
        positions.rotate(at, {1, at.length, kv_heads, d_head, d_head, d_head, kv}, k, turned_k);
        attend_before(at, heads, heads / kv_heads, d_head, turned_q, turned_k, v, y);
        l.out(at, y, a);
    }
};

} // namespace

std::unique_ptr<Backbone> open_llama(const PretrainedConfig& c, PretrainedWeights w) {
    return std::make_unique<Layered<Llama>>(c, std::move(w));
}

} // namespace fci
