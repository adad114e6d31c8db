"""The layers of golden.py, each a function of the dictionary of parameters, by name, and the sizes and start values of
those parameters."""
import math
import torch
import torch.nn.functional as F

D, HEADS, LENGTH, BATCH, STATE, CONV, TOP_K = 16, 4, 13, 2, 16, 4, 4
HUBS, SPARSE_LENGTH, GLOBAL = 3, 41, [2, 19, 20, 40]
INNER, RANK = 2 * D, max(1, D // 16)
VOCAB, STEPS, CURVE_LENGTH, CURVE_BATCH = 32, 20, 24, 8


# The layers. p: parameters by name; n: the prefix of the layer's names.

def linear(p, n, x):
    return F.linear(x, p[n + ".weight"], p.get(n + ".bias"))

def norm(p, n, x):
    return F.layer_norm(x, (D,), p[n + ".weight"], p[n + ".bias"], 1e-5)

def ffn(p, n, x):
    return linear(p, n + ".2", F.gelu(linear(p, n + ".0", x)))

def attend(q, k, v, seen=None):
    """softmax(q k' / sqrt(width)) v in each head, over the keys seen (r,t); q (b,r,d), k (b,t,d), v (b,t,d')."""
    q, k, v = (u.unflatten(-1, (HEADS, -1)).transpose(1, 2) for u in (q, k, v))
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if seen is not None:
        s = s.masked_fill(~seen, -torch.inf)
    return (s.softmax(-1) @ v).transpose(1, 2).flatten(2)

def pre_norm(mix, p, n, x):
    x = x + mix(norm(p, n + ".norm1", x))
    return x + ffn(p, n + ".ffn", norm(p, n + ".norm2", x))

def transformer(p, n, x, seen=None):
    return pre_norm(lambda z: linear(p, n + ".out", attend(*linear(p, n + ".qkv", z).chunk(3, -1), seen)), p, n, x)

def causal_transformer(p, n, x):
    return transformer(p, n, x, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril())

def sparse_transformer(p, n, x):
    i = torch.arange(x.shape[1])
    seen = (i[:, None] - 16 <= i) & (i < i[:, None] + 16)  # row i, column j
    seen[:, GLOBAL] = True
    return transformer(p, n, x, seen)

def linear_attention(p, n, x):
    def mix(z):
        q, k, v = (u.unflatten(-1, (HEADS, -1)).transpose(1, 2) for u in linear(p, n + ".qkv", z).chunk(3, -1))
        w = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-1, -2)
        return linear(p, n + ".out", (w / w.sum(-1, keepdim=True) @ v).transpose(1, 2).flatten(2))
    return pre_norm(mix, p, n, x)

def rank1_attention(p, n, x):
    return pre_norm(lambda z: linear(p, n + ".out", attend(*linear(p, n + ".qk", z).chunk(2, -1), linear(p, n + ".v", z))),
                    p, n, x)

def perceiver(p, n, x):
    def mix(z):
        hubs = p[n + ".hubs"].expand(len(x), -1, -1)
        hubs = hubs + linear(p, n + ".read_out", attend(hubs, *linear(p, n + ".read_kv", z).chunk(2, -1)))
        y = attend(linear(p, n + ".send_q", z), *linear(p, n + ".send_kv", hubs).chunk(2, -1))
        return linear(p, n + ".send_out", y)
    return pre_norm(mix, p, n, x)

def fourier(p, n, x):
    return pre_norm(lambda z: torch.fft.fft2(z, norm="ortho").real, p, n, x)

def mamba(p, n, x):
    u, z = linear(p, n + ".in_proj", x).chunk(2, -1)
    past = F.pad(u.transpose(1, 2), (CONV - 1, 0))
    u = F.silu(F.conv1d(past, p[n + ".conv.weight"][:, None], p[n + ".conv.bias"], groups=INNER).transpose(1, 2))
    dt, B, C = linear(p, n + ".x_proj", u).split([RANK, STATE, STATE], -1)
    dt, A = F.softplus(linear(p, n + ".dt_proj", dt)), -torch.exp(p[n + ".A_log"])
    h, y = torch.zeros(x.shape[0], INNER, STATE, dtype=x.dtype), []
    for t in range(x.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt * u)[:, t, :, None] * B[:, t, None]
        y.append((h * C[:, t, None]).sum(-1))
    return linear(p, n + ".out_proj", (torch.stack(y, 1) + p[n + ".D"] * u) * F.silu(z))

def flow(p, n, x):
    return x + mamba(p, n + ".forward", norm(p, n + ".norm", x))

def bidir_flow(p, n, x):
    return flow(p, n, x) + mamba(p, n + ".backward", norm(p, n + ".norm", x).flip(1)).flip(1)

def route(p, h, query):
    """Scores of the query rows (b,t), the chosen positions (b,2k), and the logits of the answer (b,vocab)."""
    rows = torch.arange(h.shape[0])
    hq = h[rows, query]
    if "router.v.weight" in p:
        scores = (hq @ p["router.v.weight"])[:, None] * (h @ p["router.v.weight"])
    else:
        scores = torch.einsum("bd,btd->bt", linear(p, "router.wq", hq), linear(p, "router.wk", h))
        scores = scores / (HEADS * math.sqrt(D // HEADS))
    top = scores.topk(TOP_K, -1).indices
    chosen = torch.cat([top, (top + 1).clamp(max=h.shape[1] - 1)], 1)
    k, v = linear(p, "council.kv", norm(p, "council.norm1", h[rows[:, None], chosen])).chunk(2, -1)
    q = linear(p, "council.q", norm(p, "council.norm1", hq))[:, None]
    u = hq + linear(p, "council.out", attend(q, k, v)[:, 0])
    u = u + ffn(p, "council.ffn", norm(p, "council.norm2", u))
    return scores, chosen, linear(p, "head.linear", norm(p, "head.norm", u))

def model(block, p, tokens, query):
    h = block(p, "block.0", p["token.weight"][tokens] + p["position.weight"])
    scores, _, logits = route(p, h, query)
    return scores, logits

def gaps(scores, ranks):
    """The smallest distance between the scores of neighbouring ranks: what rounding must not exceed."""
    best = scores.sort(-1, descending=True).values[:, :TOP_K + 1]
    return (best[:, :-1] - best[:, 1:])[:, ranks].min().item()


# The parameters: names and sizes in the order of the files, then values.

def linear_sizes(n, out, inputs, bias=True):
    return {n + ".weight": (out, inputs), **({n + ".bias": (out,)} if bias else {})}

def norm_sizes(n):
    return {n + ".weight": (D,), n + ".bias": (D,)}

def ffn_sizes(n):
    return linear_sizes(n + ".0", 4 * D, D) | linear_sizes(n + ".2", D, 4 * D)

def mamba_sizes(n):
    return (linear_sizes(n + ".in_proj", 2 * INNER, D, False) | linear_sizes(n + ".conv", INNER, CONV)
            | linear_sizes(n + ".x_proj", RANK + 2 * STATE, INNER, False) | linear_sizes(n + ".dt_proj", INNER, RANK)
            | {n + ".A_log": (INNER, STATE), n + ".D": (INNER,)} | linear_sizes(n + ".out_proj", D, INNER, False))

def block_sizes(block, n="block.0"):
    joint = linear_sizes(n + ".qkv", 3 * D, D) | linear_sizes(n + ".out", D, D)
    mixers = {transformer: joint, causal_transformer: joint, sparse_transformer: joint, linear_attention: joint,
              rank1_attention: linear_sizes(n + ".qk", 2 * HEADS, D) | linear_sizes(n + ".v", D, D)
                               | linear_sizes(n + ".out", D, D),
              perceiver: {n + ".hubs": (HUBS, D)} | linear_sizes(n + ".read_kv", 2 * D, D)
                         | linear_sizes(n + ".read_out", D, D) | linear_sizes(n + ".send_q", D, D)
                         | linear_sizes(n + ".send_kv", 2 * D, D) | linear_sizes(n + ".send_out", D, D),
              fourier: {}}
    if block in mixers:
        return norm_sizes(n + ".norm1") | mixers[block] | norm_sizes(n + ".norm2") | ffn_sizes(n + ".ffn")
    backward = mamba_sizes(n + ".backward") if block is bidir_flow else {}
    return norm_sizes(n + ".norm") | mamba_sizes(n + ".forward") | backward

def route_sizes(rank1=False):
    router = {"router.v.weight": (D,)} if rank1 else {"router.wq.weight": (D, D), "router.wk.weight": (D, D)}
    return (router | norm_sizes("council.norm1") | linear_sizes("council.q", D, D) | linear_sizes("council.kv", 2 * D, D)
            | linear_sizes("council.out", D, D) | norm_sizes("council.norm2") | ffn_sizes("council.ffn")
            | norm_sizes("head.norm") | linear_sizes("head.linear", VOCAB, D))

def model_sizes(block):
    return {"token.weight": (VOCAB, D), "position.weight": (CURVE_LENGTH, D)} | block_sizes(block) | route_sizes()

def value(name, shape):
    """No value sits where a mistake would not show: no bias of 0, no scale of 1, and steps dt so large (Mamba's own
    start is 1e-3 to 0.1) that the states carry weight within a dozen tokens."""
    r = torch.randn(shape)
    if "norm" in name:
        return 0.1 * r + (1 if name.endswith("weight") else 0)
    if name.endswith("dt_proj.bias"):
        dt = torch.exp(torch.empty(shape).uniform_(math.log(0.05), math.log(1)))
        return dt + torch.log(-torch.expm1(-dt))
    if name.endswith("A_log"):
        return torch.log(torch.arange(1., STATE + 1)) + 0.1 * r
    if name.endswith(".D"):
        return 0.5 + 0.1 * r
    if name in ("token.weight", "position.weight"):
        return 0.2 * r
    return 0.1 * r if name.endswith("bias") else r / math.sqrt(shape[-1])

def parameters(sizes):
    return {n: value(n, s).double().requires_grad_() for n, s in sizes.items()}
