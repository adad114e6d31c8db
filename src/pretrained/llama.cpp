// Llama, of which SmolLM2 is made  [Touvron et al. 2023]
//   x <- x + W_o attention(R W_q h, R W_k h, W_v h),  h = RMSNorm x    grouped queries, R: rotary of whole heads
//   x <- x + W_down (W_up h silu(W_gate h)),          h = RMSNorm x    SwiGLU [Shazeer 2020], which is the op gate
#include "ops/pointwise.h"
#include "ops/rms_norm.h"
#include "ops/rotary.h"
#include "pretrained/families.h"
#include "pretrained/layered.h"
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

    using Positions = RotaryTables;
    Positions positions(int length) const { return {length, d_head, base}; }

    void forward(const Layer& l, const Positions& at, int length, float* x) const {
        const int64_t n = int64_t{length} * width, m = int64_t{length} * mlp;
        const NormShape rows{length, width, eps};
        cpu::Scratch scratch;
        float *h = scratch.floats(n), *a = scratch.floats(n);
        l.norm1(rows, x, h);
        attend(l, at, length, h, a);
        add(n, a, x);
        l.norm2(rows, x, h);
        float *u = scratch.floats(m), *g = scratch.floats(m), *y = scratch.floats(m);
        l.up(length, h, u);
        l.gate(length, h, g);
        cpu::gate_forward(m, u, g, y);
        l.down(length, y, a);
        add(n, a, x);
    }

    void attend(const Layer& l, const Positions& at, int length, const float* h, float* a) const {
        const int kv = kv_heads * d_head, qd = heads * d_head;
        cpu::Scratch scratch;
        const auto take = [&](int d) { return scratch.floats(int64_t{length} * d); };
        float *q = take(qd), *k = take(kv), *v = take(kv), *y = take(qd), *turned_q = take(qd), *turned_k = take(kv);
        l.q(length, h, q);
        l.k(length, h, k);
        l.v(length, h, v);
        const auto turn = [&](int n_heads, const float* from, float* to) {
            const RotaryShape s{1, length, n_heads, d_head, d_head, d_head, n_heads * d_head};
            cpu::rotary_forward(s, from, at.cos.data(), at.sin.data(), to);
        };
        turn(heads, q, turned_q);
        turn(kv_heads, k, turned_k);
        GroupedAttention{length, heads, heads / kv_heads, d_head, d_head, kv, d_head, kv}(turned_q, turned_k, v, y);
        l.out(length, y, a);
    }
};

} // namespace

std::unique_ptr<Backbone> open_llama(const PretrainedConfig& c, PretrainedWeights w) {
    return std::make_unique<Layered<Llama>>(c, std::move(w));
}

} // namespace fci
