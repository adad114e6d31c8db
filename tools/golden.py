#!/usr/bin/env python3
"""Writes tests/golden/*.safetensors: what PyTorch computes for one block of each kind, for the router and the
Council, for AdamW under OneCycleLR, and for twenty training steps of two whole models.

  python3 tools/golden.py [--out tests/golden] [--check-against definition.py]

Parameters and inputs are drawn in float32. Everything else follows from them in float64 and is rounded to float32
once, at the end: a float32 program is compared with the right numbers, not with another program's rounding.
The layers are in golden_layers.py, written out of softmax, conv1d, fft2 and matrix products; the recurrence is a plain
loop over time. Needs PyTorch only; fci itself needs neither this script nor PyTorch.

--check-against takes a Python file with the same layers as PyTorch modules (TransformerLayer, Attention,
SparseAttention, Perceiver, Flow, FCI); outputs and gradients must agree with it to 1e-12, curves to 1e-9. It also
prints how far training in float32 drifts.
"""
import argparse, importlib.util, json, math, os, random, struct
import torch
import torch.nn.functional as F
from golden_layers import *


# The files. Each function returns the tensors of one file; floats are rounded to float32 on writing.

def named(prefix, tensors):
    return {prefix + n: t for n, t in tensors.items()}

def gradients(p):
    return named("grad/", {n: t.grad for n, t in p.items()})

def block_file(block, seed):
    torch.manual_seed(seed)
    p = parameters(block_sizes(block))
    length = SPARSE_LENGTH if block is sparse_transformer else LENGTH
    x, dy = (0.3 * torch.randn(2, BATCH, length, D)).double()  # small enough that the 1e-5 of the norms counts
    y = block(p, "block.0", x.requires_grad_())
    y.backward(dy)
    positions = {"input/global": torch.tensor(GLOBAL)} if block is sparse_transformer else {}
    return named("param/", p) | gradients(p) | {"grad/x": x.grad, "input/x": x, "input/dy": dy, "output/y": y} | positions

def losses(scores, logits, answer, label, weight):
    answer_loss, routing_loss = F.cross_entropy(logits, label), F.cross_entropy(scores, answer)
    return answer_loss + weight * routing_loss, answer_loss, routing_loss

def council_file(rank1, seed):
    torch.manual_seed(seed)
    p = parameters(route_sizes(rank1))
    h = (2 * torch.randn(BATCH, LENGTH, D)).double().requires_grad_()
    query, answer, label = torch.randint(LENGTH, (BATCH,)), torch.randint(LENGTH, (BATCH,)), torch.randint(VOCAB, (BATCH,))
    weight = torch.tensor([0.7]).double()
    scores, chosen, logits = route(p, h, query)
    total, answer_loss, routing_loss = losses(scores, logits, answer, label, weight)
    total.backward()
    assert gaps(scores, slice(None)) > 0.03, "the order of the best scores must survive rounding"
    assert (chosen[:, :TOP_K] == LENGTH - 1).any(), "the last position, whose neighbour is itself, must be chosen"
    return named("param/", p) | gradients(p) | {
        "grad/h": h.grad, "input/h": h, "input/query": query, "input/answer": answer, "input/label": label,
        "input/routing_weight": weight, "output/scores": scores, "output/chosen": chosen, "output/logits": logits,
        "output/loss": total.reshape(1), "output/answer_loss": answer_loss.reshape(1),
        "output/routing_loss": routing_loss.reshape(1)}

def one_cycle(p, max_lr):
    adamw = torch.optim.AdamW(p, lr=max_lr, weight_decay=0.01, eps=1e-8)
    return adamw, torch.optim.lr_scheduler.OneCycleLR(adamw, max_lr=max_lr, total_steps=STEPS)

def adamw_file(seed):
    torch.manual_seed(seed)
    p = (torch.randn(64) * torch.logspace(0, -4, 64)).double().requires_grad_()  # large ones show decay, small ones steps
    start, out = p.detach().clone(), {"learning_rate": [], "beta1": [], "beta2": [], "gradient_norm": [], "p": []}
    grads = torch.randn(STEPS, 64) * torch.logspace(-2, 0, 5).repeat(4)[:, None]  # norms about 0.08 to 8: some are clipped
    grads[:, :4] = 0  # decay alone
    grads[:, -4:] *= 1e-6  # eps counts
    adamw, schedule = one_cycle([p], 3e-4)
    for t in range(STEPS):
        p.grad = grads[t].double()
        out["gradient_norm"].append(torch.nn.utils.clip_grad_norm_([p], 1.0))
        group = adamw.param_groups[0]
        for name, x in zip(("learning_rate", "beta1", "beta2"), (group["lr"], *group["betas"])):
            out[name].append(torch.tensor(x, dtype=torch.float64))
        adamw.step()
        out["p"].append(p.detach().clone())
        if t + 1 < STEPS:
            schedule.step()
    return {"param/p": start, "input/grad": grads} | named("output/", {n: torch.stack(v) for n, v in out.items()})

def distant_evidence(seed):
    """Marker 0 and key at q, pair (key, value) at a >= q + 10, a pair with another value within 4 of q. Two batches
    in turn, so that twenty steps learn something."""
    r, examples = random.Random(seed), []
    for _ in range(2 * CURVE_BATCH):
        q = r.randrange(1, CURVE_LENGTH - 12)
        a, distractor = r.randrange(q + 10, CURVE_LENGTH - 1), q + r.randrange(1, 4)
        key, v, other = r.sample(range(1, VOCAB), 3)
        x = [r.choice([t for t in range(1, VOCAB) if t != key]) for _ in range(CURVE_LENGTH)]
        x[q - 1:q + 1], x[a:a + 2], x[distractor:distractor + 2] = [0, key], [key, v], [key, other]
        examples.append((x, q, a, v))
    return [torch.tensor(c * (STEPS // 2)).unflatten(0, (STEPS, CURVE_BATCH)) for c in zip(*examples)]

def train(run, p, data):
    """Twenty steps on p, in its own precision; the curves, and the gradients of the first step before clipping.
    A key's bias adds the same to every score of a softmax: its gradient is 0, what AdamW divides is rounding noise, and
    its final value means nothing. This is the middle third of a full attention's qkv.bias, the first half of kv.bias."""
    adamw, schedule = one_cycle(p, 1e-2)
    out, gap = {"loss": [], "answer_loss": [], "routing_loss": [], "gradient_norm": []}, math.inf
    for t, (tokens, query, answer, label) in enumerate(zip(*data)):
        adamw.zero_grad()
        scores, logits = run(tokens, query)
        values = losses(scores, logits, answer, label, 1.0)
        values[0].backward()
        if t == 0:
            first = [u.grad.clone() for u in p]
        values += (torch.nn.utils.clip_grad_norm_(p, 1.0),)
        for n, v in zip(out, values):
            out[n].append(v.detach())
        gap = min(gap, gaps(scores.detach(), slice(TOP_K - 1, TOP_K)))
        adamw.step()
        if t + 1 < STEPS:
            schedule.step()
    return {n: torch.stack(v) for n, v in out.items()}, first, gap

def curve_file(block, seed):
    torch.manual_seed(seed)
    p, data = parameters(model_sizes(block)), distant_evidence(seed)
    start = {n: t.detach().clone() for n, t in p.items()}
    out, first, gap = train(lambda x, q: model(block, p, x, q), list(p.values()), data)
    assert gap > 5e-4, f"the choice of positions must survive rounding: {gap}"
    return (named("param/", start) | named("grad/", dict(zip(p, first))) | named("final/", p)
            | named("input/", dict(zip(("tokens", "query", "answer", "label"), data))) | named("output/", out))


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, t in tensors.items():
        kind, t = ("F32", t.detach().float()) if t.is_floating_point() else ("I32", t.int())
        raw = t.contiguous().numpy().astype({"F32": "<f4", "I32": "<i4"}[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return 8 + len(text) + len(data)


# --check-against: the same numbers from modules that somebody else wrote.

def their_name(name):
    """Ours -> theirs. A block's names stand below 'mixer.0' in their model."""
    if name in ("token.weight", "position.weight"):
        return name.replace("position.weight", "position")
    for ours, theirs in (("block.0.qkv", "mixer.0.attention.qkv"), ("block.0.out.", "mixer.0.attention.out."),
                         ("block.0.forward", "mixer.0.forward_block"), ("block.0.backward", "mixer.0.backward_block"),
                         ("block.0", "mixer.0"), ("head.norm", "norm3"), ("head.linear", "head"), ("council.", ""),
                         ("router.", "")):
        if name.startswith(ours):
            return theirs + name[len(ours):]

def load(module, p, prefix=""):
    """Copies parameters into a module; returns its parameters in our order, checked to be all of them."""
    inside = dict(module.named_parameters())
    mine = {n: inside.pop(their_name(n)[len(prefix):]) for n in p}
    assert not inside, f"without a counterpart: {list(inside)}"
    with torch.no_grad():
        for n, t in mine.items():
            t.copy_(p[n].reshape(t.shape))
    return mine

def difference(ours, theirs):
    return max(((a - b.reshape(a.shape)).abs().max() / a.abs().max().clamp(min=1e-6)).item() for a, b in zip(ours, theirs))

def part(tensors, prefix):
    return {n[len(prefix):]: t.detach() for n, t in tensors.items() if n.startswith(prefix)}

def check(name, f, peer):
    p, g = part(f, "param/"), part(f, "grad/")
    if name.startswith("curve"):
        kind, data = name[6:].replace("_", "-"), [f["input/" + n] for n in ("tokens", "query", "answer", "label")]
        worst = 0
        for options in ({"scan": "loop"}, {"scan": "log", "all_rows": True}):
            m = peer.FCI(kind, 1, CURVE_LENGTH, vocab=VOCAB, d=D, heads=HEADS, top_k=TOP_K, **options).double()
            mine = load(m, p)
            out, first, gap = train(m, list(mine.values()), data)
            worst = max(worst, difference([*part(f, "output/").values(), *g.values(), *part(f, "final/").values()],
                                          [*out.values(), *first, *[t.detach() for t in mine.values()]]))
        m = m.float()
        load(m, p)
        low, _, _ = train(m, list(mine.values()), data)
        drift = difference([f["output/" + n] for n in low], list(low.values()))
        moved = {n: (t - mine[n].detach().reshape(t.shape)).abs().max().item() for n, t in part(f, "final/").items()}
        moved = sorted(moved.items(), key=lambda m: -m[1])[:4]
        print(f"  smallest gap at the cut {gap:.1e}; in float32 the curves drift by {drift:.1e} of their largest value,",
              "the final parameters by", ", ".join(f"{n} {x:.1e}" for n, x in moved))
    elif name.endswith("council"):
        m = peer.FCI("content-only", 1, LENGTH, "loop", vocab=VOCAB, d=D, heads=HEADS, top_k=TOP_K).double()
        m.token = torch.nn.Embedding(BATCH * LENGTH, D, dtype=torch.float64)  # one token a position: its embedding is h
        scale, v = 1 / (HEADS * math.sqrt(D // HEADS)), p.pop("router.v.weight", None)
        if v is not None:  # f_q f_j = scale (Wq h_q).(Wk h_j) for Wq = [v; 0], Wk = [v / scale; 0]
            one = torch.eye(D)[0].double()
            p |= {"router.wq.weight": torch.outer(one, v), "router.wk.weight": torch.outer(one, v / scale)}
        mine = load(m, p | {"token.weight": f["input/h"].detach().flatten(0, 1)})
        scores, logits = m(torch.arange(BATCH * LENGTH).view(BATCH, LENGTH), f["input/query"])
        total, *_ = losses(scores, logits, f["input/answer"], f["input/label"], f["input/routing_weight"])
        total.backward()
        theirs = {n: t.grad for n, t in mine.items()}
        theirs["h"] = theirs.pop("token.weight")
        if v is not None:
            theirs["router.v.weight"] = theirs["router.wq.weight"][0] + theirs["router.wk.weight"][0] / scale
        worst = difference([f["output/scores"], f["output/logits"], f["output/loss"], *g.values()],
                           [scores, logits, total, *[theirs[n] for n in g]])
    elif name == "adamw":
        q, m, v = p["p"].clone(), 0, 0  # the equations, written out
        for t in range(STEPS):
            lr, b1, b2 = (f["output/" + n][t] for n in ("learning_rate", "beta1", "beta2"))
            grad = f["input/grad"][t].double() * min(1, 1 / (f["input/grad"][t].double().norm().item() + 1e-6))
            m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad ** 2
            q = q * (1 - lr * 0.01) - lr * m / (1 - b1 ** (t + 1)) / ((v / (1 - b2 ** (t + 1))).sqrt() + 1e-8)
            worst = max(worst, difference([f["output/p"][t]], [q])) if t else difference([f["output/p"][0]], [q])
    elif name in ("linear_attention", "rank1_attention", "fourier"):
        return print(f"  {name}: no module to compare with")
    else:
        if "flow" in name:
            m = peer.Flow(D, "log", name == "bidir_flow")
        elif name == "perceiver":
            m = peer.Perceiver(D, HEADS, HUBS)
        elif name == "sparse_transformer":  # its own positions are drawn; one inside the window counts once
            a = peer.SparseAttention(D, HEADS, SPARSE_LENGTH, globals_=len(GLOBAL))
            far, i = torch.tensor(GLOBAL), torch.arange(SPARSE_LENGTH)[:, None]
            a.index[:, -len(GLOBAL):] = far
            a.masked[:, -len(GLOBAL):] = (i - 16 <= far) & (far < i + 16)
            m = peer.TransformerLayer(D, a)
        else:
            m = peer.TransformerLayer(D, peer.Attention(D, HEADS, name == "causal_transformer"))
        mine, x = load(m.double(), p, "mixer.0."), f["input/x"].detach().clone().requires_grad_()
        y = m(x)
        y.backward(f["input/dy"])
        theirs = {n: t.grad for n, t in mine.items()} | {"x": x.grad}
        worst = difference([f["output/y"], *g.values()], [y, *[theirs[n] for n in g]])
    print(f"  {name}: largest relative difference {worst:.1e}")
    assert worst < (1e-9 if name.startswith("curve") else 1e-12)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", default="tests/golden")
    a.add_argument("--check-against", metavar="FILE")
    a = a.parse_args()
    torch.set_num_threads(1)
    blocks = (transformer, causal_transformer, flow, bidir_flow)
    files = {b.__name__: block_file(b, 1 + i) for i, b in enumerate(blocks)}
    mixers = (sparse_transformer, linear_attention, rank1_attention, perceiver, fourier)
    files |= {b.__name__: block_file(b, 11 + i) for i, b in enumerate(mixers)}
    files |= {"investigator_council": council_file(False, 5), "rank1_council": council_file(True, 3), "adamw": adamw_file(7)}
    files |= {"curve_transformer": curve_file(transformer, 6), "curve_bidir_flow": curve_file(bidir_flow, 3)}
    metadata = {"generator": "tools/golden.py", "torch": torch.__version__.split("+")[0], "d": D, "heads": HEADS,
                "inner": INNER, "state": STATE, "conv": CONV, "dt_rank": RANK, "top_k": TOP_K, "vocab": VOCAB}
    os.makedirs(a.out, exist_ok=True)
    total = 0
    for name, tensors in files.items():
        path = os.path.join(a.out, name + ".safetensors")
        size = write_safetensors(path, tensors, {k: str(v) for k, v in metadata.items()})
        total += size
        print(f"{name}.safetensors: {len(tensors)} tensors, {size} bytes")
    print(f"total: {total} bytes")
    if a.check_against:
        spec = importlib.util.spec_from_file_location("definition", a.check_against)
        peer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(peer)
        for name, tensors in files.items():
            check(name, tensors, peer)


if __name__ == "__main__":
    main()
