#!/usr/bin/env python3
"""A second, independent BM25 of the paper on HotpotQA, with the standard library only, to compare with
`fci eval --task hotpotqa --method bm25 --data FILE --per-example FILE.tsv`, example by example.

    tools/hotpot_bm25.py FILE.json [FILE.tsv]      FILE: the official layout
"""
import json
import math
import sys
from collections import Counter

SEGMENTS, TOP, K1, B, FLOOR = 16, 2, 1.5, 0.75, 0.25
ESCAPES = str.maketrans({"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"})


def scores(query, documents):
    counts = [Counter(d) for d in documents]
    n, mean = len(documents), sum(map(len, documents)) / len(documents)
    held = Counter(word for c in counts for word in c)
    idf = {w: math.log(n - df + 0.5) - math.log(df + 0.5) for w, df in held.items()}
    least = FLOOR * (sum(idf.values()) / len(idf))
    idf = {w: least if x < 0 else x for w, x in idf.items()}
    return [sum(idf[w] * (c[w] * (K1 + 1) / (c[w] + K1 * (1 - B + B * len(d) / mean))) for w in query if w in c)
            for c, d in zip(counts, documents)]


def main(path, out=None):
    rows, skipped = [], Counter()
    for x in json.load(open(path, encoding="utf-8-sig")):
        sentences, names = [], []  # a sentence's name: (title, index); titles may repeat
        for title, text in x["context"]:
            names += [(title, i) for i in range(len(text))]
            sentences += text
        facts = {(t, i) for t, i in x["supporting_facts"]} & set(names)
        n = len(sentences)
        if n < SEGMENTS or not facts:
            skipped["too few sentences" if n < SEGMENTS else "no supporting sentence"] += 1
            continue
        bounds = [n * i // SEGMENTS for i in range(SEGMENTS + 1)]
        segment_of = [i for i in range(SEGMENTS) for _ in range(bounds[i], bounds[i + 1])]
        documents = [" ".join(sentences[a:b]).lower().split() for a, b in zip(bounds, bounds[1:])]
        s = scores(x["question"].lower().split(), documents)
        chosen = sorted(range(SEGMENTS), key=lambda i: (-s[i], i))[:TOP]
        right = sorted({segment_of[s] for s in range(n) if names[s] in facts})
        complete = facts <= {names[s] for s in range(n) if segment_of[s] in chosen}
        blind = 1 - math.comb(SEGMENTS - len(right), TOP) / math.comb(SEGMENTS, TOP)
        name = str(x.get("_id", x.get("id", ""))).translate(ESCAPES)
        rows.append((name, chosen, right, bool(set(chosen) & set(right)), complete, blind))
    if out:
        with open(out, "w", encoding="utf-8") as f:
            f.write("id\tchosen\tsupporting\tany\tall\n")
            for name, chosen, right, hit, complete, _ in rows:
                f.write("\t".join((name, ",".join(map(str, chosen)), ",".join(map(str, right)), str(int(hit)),
                                   str(int(complete)))) + "\n")
    share = [100 * sum(r[c] for r in rows) / len(rows) for c in (3, 4, 5)]
    print(f"{len(rows)} examples, skipped {dict(skipped)}: any {share[0]:.4f} (chance {share[2]:.4f}), all {share[1]:.4f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
