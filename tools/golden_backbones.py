#!/usr/bin/env python3
"""Writes tests/golden/backbones: tiny random models of each family as Hugging Face folders, each with what
transformers computes, in float32, for a few sequences: expected.safetensors has tokens (n,length) and hidden
(layers+1,n,length,width), of which the last is after the final norm.

  python3 tools/golden_backbones.py [--out tests/golden/backbones]

or a random model of a published one's exact shape, in float16 and without transformers, to measure time and memory:

  python3 tools/golden_backbones.py --shape pythia-1b|mamba-370m --out FOLDER

The first needs PyTorch and transformers, the second numpy. fci needs neither this script nor them.
"""
import argparse, json, os, struct

SHAPES = {
    "pythia-1b": dict(model_type="gpt_neox", vocab_size=50304, hidden_size=2048, num_hidden_layers=16,
                      num_attention_heads=8, intermediate_size=8192, max_position_embeddings=2048, rotary_pct=0.25,
                      rotary_emb_base=10000, use_parallel_residual=True, hidden_act="gelu", layer_norm_eps=1e-5,
                      tie_word_embeddings=False),
    "mamba-370m": dict(model_type="mamba", vocab_size=50280, hidden_size=1024, num_hidden_layers=48, state_size=16,
                       intermediate_size=2048, time_step_rank=64, conv_kernel=4, expand=2, hidden_act="silu",
                       layer_norm_epsilon=1e-5, use_bias=False, use_conv_bias=True, tie_word_embeddings=True),
}


def tensors_of(c):
    """(name, shape) of every weight of one of SHAPES, in the order of the file."""
    d, v = c["hidden_size"], c["vocab_size"]
    if c["model_type"] == "gpt_neox":
        m = c["intermediate_size"]
        yield "gpt_neox.embed_in.weight", (v, d)
        for i in range(c["num_hidden_layers"]):
            for name, out, into in (("attention.query_key_value", 3 * d, d), ("attention.dense", d, d),
                                    ("mlp.dense_h_to_4h", m, d), ("mlp.dense_4h_to_h", d, m),
                                    ("input_layernorm", d, None), ("post_attention_layernorm", d, None)):
                yield f"gpt_neox.layers.{i}.{name}.weight", (out, into) if into else (out,)
                yield f"gpt_neox.layers.{i}.{name}.bias", (out,)
        yield "gpt_neox.final_layer_norm.weight", (d,)
        yield "gpt_neox.final_layer_norm.bias", (d,)
        yield "embed_out.weight", (v, d)
        return
    e, n, r, k = c["intermediate_size"], c["state_size"], c["time_step_rank"], c["conv_kernel"]
    yield "backbone.embeddings.weight", (v, d)
    for i in range(c["num_hidden_layers"]):
        for name, shape in (("norm.weight", (d,)), ("mixer.in_proj.weight", (2 * e, d)),
                            ("mixer.conv1d.weight", (e, 1, k)), ("mixer.conv1d.bias", (e,)),
                            ("mixer.x_proj.weight", (r + 2 * n, e)), ("mixer.dt_proj.weight", (e, r)),
                            ("mixer.dt_proj.bias", (e,)), ("mixer.A_log", (e, n)), ("mixer.D", (e,)),
                            ("mixer.out_proj.weight", (d, e))):
            yield f"backbone.layers.{i}.{name}", shape
    yield "backbone.norm_f.weight", (d,)


def write_shape(name, out):
    import numpy as np
    os.makedirs(out, exist_ok=True)
    config = SHAPES[name]
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    header, end = {}, 0
    for n, shape in tensors_of(config):
        size = 2 * int(np.prod(shape))
        header[n] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    rng = np.random.default_rng(1)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        text = json.dumps(header).encode()
        f.write(struct.pack("<Q", len(text)) + text)
        for n, shape in tensors_of(config):
            if n.endswith("A_log"):
                x = np.log(np.broadcast_to(np.arange(1., shape[1] + 1), shape))
            elif "norm" in n or n.endswith(".D"):
                x = np.full(shape, 0. if n.endswith("bias") else 1.)
            else:
                x = 0.02 * rng.standard_normal(shape, dtype=np.float32) - (4. if n.endswith("dt_proj.bias") else 0.)
            f.write(x.astype(np.float16).tobytes())


def models():
    """name, model, how it is saved. Sizes are odd where the family allows it."""
    import torch
    from transformers import (GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, MambaConfig,
                              MambaForCausalLM)
    neox = dict(vocab_size=29, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=45,
                rotary_pct=0.25, max_position_embeddings=64)
    yield "gpt_neox", GPTNeoXForCausalLM(GPTNeoXConfig(**neox)), {}
    yield "gpt_neox_sequential_f16", GPTNeoXForCausalLM(
        GPTNeoXConfig(**dict(neox, use_parallel_residual=False, rotary_pct=1.0, rotary_emb_base=500))).half(), {}
    mamba = dict(vocab_size=37, hidden_size=19, num_hidden_layers=2, state_size=5, conv_kernel=3, time_step_rank=3,
                 expand=2)
    yield "mamba", MambaForCausalLM(MambaConfig(**mamba, tie_word_embeddings=False, use_bias=True)), {}
    yield "mamba_tied", MambaForCausalLM(MambaConfig(**dict(mamba, conv_kernel=4, state_size=16))), {}
    yield "llama_sharded_bf16", LlamaForCausalLM(LlamaConfig(
        vocab_size=31, hidden_size=30, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=10,
        intermediate_size=41, rope_theta=7000., rms_norm_eps=1e-5, max_position_embeddings=64)).bfloat16(), {
            "max_shard_size": "16KB"}
    yield "llama_tied", LlamaForCausalLM(LlamaConfig(
        vocab_size=23, hidden_size=20, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=33, tie_word_embeddings=True, max_position_embeddings=32)), {}


def write_golden(out):
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(1)
    torch.set_num_threads(1)
    for name, model, how in models():
        folder = os.path.join(out, name)
        with torch.no_grad():
            for n, p in model.named_parameters():  # not the small ones of the start: every term must matter
                if not n.endswith(("A_log", ".D")):
                    norm = "norm" in n and n.endswith("weight")
                    p.copy_(torch.randn(p.shape) * (0.3 if p.dim() > 1 or norm else 0.2) + (1. if norm else 0.))
        model.save_pretrained(folder, safe_serialization=True, **how)
        os.remove(os.path.join(folder, "generation_config.json"))
        model = type(model).from_pretrained(folder, torch_dtype=torch.float32).eval()  # with tables of float32, too
        tokens = torch.randint(0, model.config.vocab_size, (2, 13))
        with torch.no_grad():
            hidden = model(tokens, output_hidden_states=True, use_cache=False).hidden_states
        if model.config.model_type == "mamba":  # which begins after the first layer and has the last one twice
            hidden = [model.backbone.embeddings(tokens).detach(), *hidden[:-2], hidden[-1]]
        save_file({"tokens": tokens.int(), "hidden": torch.stack([h.float() for h in hidden])},
                  os.path.join(folder, "expected.safetensors"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="tests/golden/backbones")
    parser.add_argument("--shape", choices=sorted(SHAPES))
    arguments = parser.parse_args()
    if arguments.shape:
        write_shape(arguments.shape, arguments.out)
    else:
        write_golden(arguments.out)
