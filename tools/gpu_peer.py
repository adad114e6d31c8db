"""Times steps of the model in PyTorch for tools/gpu_go.sh: gpu_peer.py PEER OUT "FLAGS" ...

PEER prints one JSON line for its flags; here it runs once for each FLAGS, in one process, since torch takes longer to
start than a measurement does. OUT is added to: each line, and seconds_all, to compile included.
"""
import contextlib
import io
import json
import runpy
import sys
import time

import torch

peer, out = sys.argv[1:3]
for flags in sys.argv[3:]:
    sys.argv = [peer, *flags.split()]
    torch._dynamo.reset()
    said, begin = io.StringIO(), time.time()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(peer, run_name="__main__")
        line = json.loads(said.getvalue().splitlines()[-1])
    except Exception as wrong:  # the next may do
        print(f"not measured: {flags}: {wrong!r}"[:400], flush=True)
        continue
    with open(out, "a") as to:
        to.write(json.dumps({**line, "seconds_all": round(time.time() - begin, 2)}) + "\n")
