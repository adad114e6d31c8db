#!/usr/bin/env bash
# What a training requires of a GPU at the paper's sizes, as the table of tests/mock/README.md, from the program built
# with the mock of CUDA. An epoch is the difference between a run of three epochs and one of two.
#
#   tests/mock/table.sh [PROGRAM]      build/release/mock/fci
set -euo pipefail
fci=$(realpath "${1:-build/release/mock/fci}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '| task | representation | nodes: a step | a test batch | launches beside graphs | bytes in | out | a step: in | out |'
printf ' checkpoint |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n'
for kind in der/transformer:1 der/bidir-flow:1 der/raw mqar/raw; do
    for epochs in 2 3; do
        FCI_MOCK_GRAPHS=$work/$epochs "$fci" train --task "${kind%/*}" --representation "${kind#*/}" --device cuda \
            --stop-after $epochs --out "$work/run" --quiet --json >"$work/json" 2>"$work/log" ||
            { cat "$work/log" >&2; exit 1; }
        rm -rf "$work/run"
    done
    parameters=$(sed 's/.*"parameters":\([0-9]*\).*/\1/' "$work/json")
    awk -F '\t' -v task="${kind%/*}" -v representation="${kind#*/}" -v steps=250 -v checkpoint=$((12 * parameters)) '
        FNR == 1 { ++file }
        $1 == "graph" { nodes[$2] = $6 }
        $1 == "node" && $4 ~ /^adamw_kernel/ { step = $2 }
        $1 == "total" { total[file, $2] = $3 }
        function epoch(what) { return total[2, what] - total[1, what] }
        END {
            for (g in nodes) if (g != step) test = nodes[g]
            out = epoch("bytes out") - checkpoint
            printf "| %s | %s | %d | %s | %d | %d | %d | %.0f | %.0f | %d |\n", task, representation, nodes[step],
                test == "" ? "-" : test, epoch("launches"), epoch("bytes in"), out, epoch("bytes in") / steps,
                out / steps, checkpoint
        }' "$work/2" "$work/3"
    rm -f "$work/2" "$work/3"
done
