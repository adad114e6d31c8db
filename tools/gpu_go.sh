#!/usr/bin/env bash
# Checks, measures and records on a GPU, within a budget. It is go.sh of the kit that tools/gpu_kit.sh makes, and needs
# only bash, coreutils, sed and grep besides the driver: no network, none of fci's libraries installed.
#
#   go.sh BUDGET [PART ...]      BUDGET in seconds; without PART all those of the first list, in this order
#
#   smoke      a small training on the GPU, with lazy and with eager module loading; always runs first
#   twins      every CUDA op, node, model step and teaching kernel against the CPU's
#   trainer    the trainer's tests
#   bits       every row of the paper at scale smoke, twice, then four runs at once: the bits must be the same
#   bench      fci bench --device cuda, in fp32 and in TF32
#   peer       the same steps in PyTorch: eager, compiled, as graphs; if the kit has the script and python3 has torch
#   ladder     the teaching kernels, step by step
#   ncu        attention, scan and the embedding's scatter under Nsight Compute, if it is installed and permitted
#   memcheck   compute-sanitizer's memcheck, over the first rows of each op
#   record     fci sweep order --scale paper, JOBS runs at once (4), stopped cleanly; then the time left goes to
#   curves     200 steps of every representation: no further from the CPU's than an ulp's difference at the start leads
#
#   racecheck initcheck synccheck      compute-sanitizer's other tools: only if named
#
# Each part has a limit, starts only if its expected time is left, and reports its result at once. Everything ends
# before BUDGET. Written to the folder OUT (default ./out), complete whenever this is killed, and added to by later
# runs:
#   table.tsv            part, verdict, seconds, a line: pass, FAIL, skipped, or not proved (mock) on a mock of a GPU
#   log.txt              the parts' output, the first 700 KB of each
#   bench.jsonl          one line per bench; only here a kill may cut the last line short
#   peer.jsonl           one line per measurement
#   ladder.txt ncu.txt
#   results/paper.jsonl  the recorded results: tools/merge_results.sh adds them to runs/results
# Unfinished runs stay in the folder WORK, and the next go.sh continues them.
# Exit codes: 0; 1: a part failed; 2: usage, or no GPU on this machine.
# shellcheck disable=SC2015,SC2154,SC2317 # kit.txt sets; parts are called by name
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
all='smoke twins trainer bits bench peer ladder ncu memcheck record curves'
others='racecheck initcheck synccheck'
margin=8 # seconds: 3 from a part's limit until it is killed, the rest for the last lines

die() { printf 'go.sh: %s\n' "$*" >&2; exit 2; }
budget=${1:-}
[[ $budget =~ ^[1-9][0-9]*$ ]] || die "usage: go.sh BUDGET [PART ...]: BUDGET must be a whole number of seconds"
shift
for part in "$@"; do
    case " $all $others " in *" $part "*) ;; *) die "$part is not one of: $all $others" ;; esac
done
[ "$budget" -gt $((margin + 1)) ] || die "a budget of $budget s is too short: $margin s are kept for the end"
parts=${*:-$all}
ends=$((budget - margin)) # on bash's clock, SECONDS

# commit, glibc, cublas: what the kit was built from and for.
# shellcheck disable=SC1091
. "$here/kit.txt" || die "kit.txt is not beside this script: make the kit with tools/gpu_kit.sh"
fci=$here/fci tests=$here/run_gpu ladder=$here/ladder
mkdir -p "${OUT:-out}/results" && out=$(cd "${OUT:-out}" && pwd) || die "${OUT:-out}: cannot be made"
work=${WORK:-${TMPDIR:-/tmp}/fci-kit-$UID}/$commit # a build does not continue another build's runs
(umask 077 && mkdir -p "$work") && [ -O "$work" ] || die "$work: cannot be used; set WORK to a folder"
work=$(cd "$work" && pwd)

# --- what is written ----------------------------------------------------------

row() { # PART VERDICT SECONDS TEXT: short, so that it is written completely or not at all
    local text=${4//[$'\t\r\n']/ }
    printf '%s\t%s\t%d\t%s\n' "$1" "$2" "$3" "${text:0:400}" >>"$out/table.tsv"
    printf '%-16s%-18s%5d s  %s\n' "$1" "$2" "$3" "${text:0:400}"
}

sent=0 most=700000
tell() { # appends the part's new output to log.txt
    local size
    size=$(stat -c %s "$work/part.log")
    [ "$size" -le $most ] || size=$most
    [ "$size" -gt "$sent" ] || return 0
    tail -c +$((sent + 1)) "$work/part.log" | head -c $((size - sent)) >>"$out/log.txt"
    sent=$size
}

failed=0 mock='' running='' current=''
# If setpriv exists: a part ends when this script ends, even by SIGKILL.
tied=()
! setpriv --pdeathsig TERM true 2>/dev/null || tied=(setpriv --pdeathsig TERM)

# NAME EXPECTED LIMIT FUNCTION...: a line of the table. Exit code 77 means skipped; the last line says why.
check() {
    local name=$1 expected=$2 limit=$3 begin=$SECONDS code verdict said left=$((ends - SECONDS))
    shift 3
    if [ "$left" -lt "$expected" ]; then
        row "$name" skipped 0 "about $expected s are needed, $left s are left"
        return
    fi
    [ "$limit" -le "$left" ] || limit=$left
    : >"$work/part.log"
    sent=0 current=$name
    printf '\n== %s, at most %d s, %s\n' "$name" "$limit" "$(date -u +%FT%TZ)" >>"$out/log.txt"
    part_ends=$(($(date +%s) + limit)) ${tied[@]+"${tied[@]}"} timeout -k 3 "$limit" \
        bash -uo pipefail -c '"$@"' "$name" "$@" >"$work/part.log" 2>&1 </dev/null &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        sleep 0.3
        tell
    done
    wait "$running"
    code=$?
    kill -KILL -- "-$running" 2>/dev/null # processes that it left behind
    running=
    tell
    [ "$(stat -c %s "$work/part.log")" -le $most ] ||
        printf '...\n%s\n' "$(tail -c 4000 "$work/part.log")" >>"$out/log.txt"
    said=$(grep -av '^[[:space:]=]*$' "$work/part.log" | tail -n 1)
    case $code in
        0) verdict=pass ;;
        77) verdict=skipped ;;
        124 | 137) verdict=FAIL said="not done after $limit s; last: $said" ;;
        *) verdict=FAIL ;;
    esac
    ! grep -qi mock "$work/device" 2>/dev/null || mock=yes
    [ "$verdict" != pass ] || [ -z "$mock" ] || verdict='not proved (mock)'
    [ "$verdict" != FAIL ] || failed=1
    row "$name" "$verdict" $((SECONDS - begin)) "$said"
    return $code
}

# A part that checks nothing on a mock, or whose program is not linked with it.
real() {
    if [ -n "$mock" ]; then row "$1" 'not proved (mock)' 0 "needs a GPU"; else check "$@"; fi
}

stopped() {
    trap '' TERM INT HUP
    if [ -n "$running" ]; then
        kill -TERM -- "-$running"
        for _ in $(seq 30); do
            kill -0 -- "-$running" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$running" 2>/dev/null
        tell
        row "$current" FAIL 0 'stopped by a signal'
    fi
    exit "$1"
}
trap 'stopped 143' TERM
trap 'stopped 130' INT
trap 'stopped 129' HUP

# --- cuBLAS -------------------------------------------------------------------

# Folders where cuBLAS may be, one per line: the toolkit's, the system's, PyTorch's.
places() {
    local home at
    tr : '\n' <<<"${LD_LIBRARY_PATH:-}"
    for home in "${CUDA_HOME:-}" /usr/local/cuda /usr/local/cuda-*; do
        printf '%s\n' "$home/lib64" "$home/targets/$(uname -m)-linux/lib"
    done
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | sed -n 's|.* => \(/.*\)/libcublas\.so\.[0-9]*$|\1|p'
    for at in python3 python; do
        timeout 10 $at -c 'import sys; print("\n".join(sys.path))' 2>/dev/null
    done | while read -r at; do
        printf '%s\n' "$at"/nvidia/cublas/lib "$at"/nvidia/cu[0-9]*/lib "$at"/torch/lib
    done
}

# Sets libraries, for LD_LIBRARY_PATH: the folder with the version that fci was built with; else another version, under
# the expected name, in which the functions that fci calls are the same. Empty: fci will say what is missing.
find_cublas() {
    local place name version found
    libraries=
    found=$(places)
    while read -r place; do
        [ -e "$place/libcublas.so.$cublas" ] && [ -e "$place/libcublasLt.so.$cublas" ] || continue
        libraries=$place
        return
    done <<<"$found"
    while read -r place; do
        for name in "$place"/libcublas.so.1[2-9]; do
            version=${name##*.}
            [ -e "$name" ] && [ -e "$place/libcublasLt.so.$version" ] || continue
            mkdir -p "$work/lib" && ln -sfn "$name" "$work/lib/libcublas.so.$cublas" || continue
            libraries=$work/lib:$place
            return
        done
    done <<<"$found"
}
ours() { LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }

# The kit's OpenBLAS has only the kernels for AVX2. For a newer processor it would choose others, which it does not
# have. Results do not depend on the choice.
! grep -qw avx2 /proc/cpuinfo || export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-Haswell}

# --- parts --------------------------------------------------------------------

left() { echo $((part_ends - $(date +%s))); } # seconds left of this part

smoke() {
    local loading begin times=''
    for loading in LAZY LAZY EAGER; do # the first reads the libraries from the disk
        rm -rf "$work/smoke"
        begin=$(date +%s%3N)
        CUDA_MODULE_LOADING=$loading ours "$fci" train --device cuda --task mqar --length 64 --pairs 4 --sequences 512 \
            --test-sequences 64 --epochs 1 --representation transformer:1 --out "$work/smoke" --quiet --json \
            >"$work/smoke.json" || return
        times="$times, $loading $(($(date +%s%3N) - begin)) ms"
    done
    cat "$work/smoke.json"
    sed -n 's/.*"device":"\([^"]*\)".*/\1/p' "$work/smoke.json" >"$work/device"
    echo "$(cat "$work/device"): start to end with modules ${times#, }"
}

tested() { # TESTS: Catch2 reports a run without tests as success
    ours "$tests" "$1" | tee "$work/tests.txt" && grep -aq '^All tests passed' "$work/tests.txt"
}

# FOLDER JOBS: every row of the paper at scale smoke.
sweep_into() {
    rm -rf "${work:?}/$1" && mkdir -p "$work/$1" || return 1
    (cd "$work/$1" && ours "$fci" sweep all --scale smoke --device cuda --threads 1 --jobs "$2" --quiet)
}
# A checkpoint's tensors: skips the 8 bytes with the header's length, and the header, which has the log's length in
# bytes.
tensors() { tail -c +$((9 + $(od -An -tu8 -N8 "$1" | tr -d ' '))) "$1" | sha256sum; }
bits_of() { # FOLDER
    (cd "$work/$1/runs/out" && for f in sweep/*/checkpoint.safetensors; do echo "$f $(tensors "$f")"; done &&
        sed 's/"seconds":[^,]*,//' results/smoke.jsonl | sort)
}
same_bits() { # FOLDER FOLDER
    bits_of "$1" >"$work/$1.bits" && bits_of "$2" >"$work/$2.bits" || return 1
    ! grep '"representation":"transformer:1"' "$work/$1.bits" | grep -q '"device":"cpu"' ||
        { echo "the runs were not made on the GPU"; return 1; }
    if [ "$(sha256sum <"$work/$1.bits")" != "$(sha256sum <"$work/$2.bits")" ]; then
        echo "not the same bits: $(grep -cvxFf "$work/$1.bits" "$work/$2.bits") of $(grep -c . "$work/$2.bits") lines"
        return 1
    fi
    echo "$(grep -c '"seed":' "$work/$1.bits") runs, the same bits"
}
repeated() { sweep_into once 1 && sweep_into again 1 && same_bits once again; }
at_once() { { [ -f "$work/once.bits" ] || sweep_into once 1; } && sweep_into four 4 && same_bits once four; }

bench() { # FLAGS
    nvidia-smi --query-gpu=clocks.sm,clocks.max.sm,power.draw,temperature.gpu --format=csv 2>/dev/null
    ours "$fci" bench --device cuda "$@" --json >"$work/bench.json" || return
    cat "$work/bench.json" >>"$out/bench.jsonl"
    echo "$(grep -o '"task"' "$work/bench.json" | grep -c .) steps," \
        "$(grep -o '"op"' "$work/bench.json" | grep -c .) ops measured"
}

# LIMIT OUT FLAGS...: one measurement per FLAGS. The first pass fills torch's cache of compiled code.
measure_peer() {
    local limit=$1 to=$2
    shift 2
    TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton TORCHINDUCTOR_COMPILE_THREADS=1 \
        timeout --foreground -k 3 "$limit" python3 "$here/gpu_peer.py" "$here/peer.py" "$to" "$@"
}
peer() {
    local what mode rows=() before measured
    [ -f "$here/peer.py" ] || { echo "the kit has no peer script (make the kit with PEER=FILE)"; return 77; }
    python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
        { echo "no python3 here has a torch that finds the GPU"; return 77; }
    for mode in graphs eager 'graphs --tf32' compile; do
        for what in transformer:1 causal-transformer:1 sparse-transformer:1 perceiver:16 bidir-flow:1 flow:2 raw; do
            rows+=("--device cuda --batch 32 --task der --representation $what --mode $mode")
        done
    done
    for what in "${rows[@]}"; do # compiles several at once, while nothing is timed
        [[ $what == *eager* ]] ||
            measure_peer $(($(left) * 2 / 3)) /dev/null "$what --warmup 2 --blocks 1 --steps 1" 2>>"$work/peer.err" &
    done
    wait
    tail -n 20 "$work/peer.err"
    before=$(grep -c . "$out/peer.jsonl" 2>/dev/null)
    measure_peer $(($(left) - 5)) "$out/peer.jsonl" "${rows[@]/%/ --warmup 10 --blocks 5 --steps 20}"
    measured=$(($(grep -c . "$out/peer.jsonl" 2>/dev/null) - ${before:-0}))
    echo "$measured of ${#rows[@]} measured"
    [ "$measured" -gt 0 ]
}

ladder() { ours "$ladder" 2>&1 | tee -a "$out/ladder.txt"; }

tool() { # NAME: where NVIDIA's tool is
    local at
    command -v "$1" && return
    for at in "${CUDA_HOME:-}/bin/$1" /usr/local/cuda*/bin/"$1" /opt/nvidia/nsight-compute/*/"$1"; do
        [ ! -x "$at" ] || { echo "$at"; return; }
    done
    echo "there is no $1 here" >&2
    return 77
}

# One step of transformer:1 and of bidir-flow:1 as in the paper; each node of the graph is measured separately.
profile() {
    local ncu what
    ncu=$(tool ncu) || return
    for what in transformer:1 bidir-flow:1; do
        rm -rf "$work/ncu"
        ours "$ncu" --clock-control none \
            --kernel-name-base demangled --kernel-name 'regex:AttentionShape|ScanShape|ScatterShape' \
            --launch-count 12 --section SpeedOfLight --section LaunchStats --section Occupancy \
            --section MemoryWorkloadAnalysis --section WarpStateStats \
            "$fci" train --device cuda --task der --representation "$what" --sequences 32 --test-sequences 8 \
            --epochs 1 --out "$work/ncu" --quiet >"$work/ncu.txt" 2>&1
        ! grep -q ERR_NVGPUCTRPERM "$work/ncu.txt" ||
            { echo "this user may not read the GPU's counters (ERR_NVGPUCTRPERM)"; return 77; }
        head -c 2000000 "$work/ncu.txt" >>"$out/ncu.txt"
        tail -n 3 "$work/ncu.txt"
    done
    grep -c 'Context' "$out/ncu.txt" | sed 's/$/ kernels measured/'
    grep -q 'Duration' "$out/ncu.txt"
}

# TOOL: --error-exitcode gives the tool's findings an exit code; the tests keep theirs for their failures. Libraries try
# calls that may fail, which are not errors of fci. Lazy: each tool rewrites loaded code, and cuBLAS is half a gigabyte.
sanitize() {
    local sanitizer code extra=()
    sanitizer=$(tool compute-sanitizer) || return
    [ "$1" != memcheck ] || extra=(--leak-check no --report-api-errors no)
    CUDA_MODULE_LOADING=LAZY FCI_TWIN_DRAWS=1 FCI_TWIN_ROWS=2 ours \
        "$sanitizer" --tool "$1" ${extra[@]+"${extra[@]}"} --error-exitcode 9 --print-limit 20 \
        "$tests" 'op table twin*,every step of the ladders*,twins: the right places*' 2>&1 | tee "$work/sanitizer.txt"
    code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ] && grep -qE 'Device not supported|Unable to|not supported on this' "$work/sanitizer.txt"; then
        echo "compute-sanitizer does not work on this GPU"
        return 77
    fi
    grep 'SUMMARY' "$work/sanitizer.txt" | tail -n 1
    return "$code"
}

# Sends SIGTERM in time: each run writes its checkpoint, and is not recorded as a result.
record() {
    local results=$out/results/paper.jsonl before=0 code weights=()
    [ ! -d "$here/backbones" ] || weights=(--backbones "$here/backbones")
    [ ! -f "$results" ] || before=$(grep -c . "$results")
    (cd "$work" && ours timeout --foreground -k 20 $(($(left) - 22)) \
        "$fci" sweep order --scale paper --device cuda --jobs "${JOBS:-4}" --results "$out/results" "${weights[@]}")
    code=$?
    echo "$(($(grep -c . "$results" 2>/dev/null) - before)) new results; unfinished runs stay in $work/runs/out"
    case $code in 0 | 75 | 124) return 0 ;; *) return "$code" ;; esac
}

# --- the parts in order -------------------------------------------------------

find_cublas
export here out work fci tests ladder libraries
while read -r _ _ name; do export -f "${name?}"; done < <(declare -F)

if [ -f "$out/log.txt" ] && [ "$(stat -c %s "$out/log.txt")" -gt 4000000 ]; then
    tail -c 1000000 "$out/log.txt" >"$work/log.txt" && cp "$work/log.txt" "$out/log.txt"
fi
[ -s "$out/table.tsv" ] || printf 'part\tverdict\tseconds\tsaid\n' >>"$out/table.tsv"
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
printf '\n== fci %s, %s s, cuBLAS: %s, %s\n' "$commit" "$budget" "${libraries:-not found}" "${gpu:-no nvidia-smi}" \
    >>"$out/log.txt"

# Checks that the programs start, and prints the loader's message if not: with the node's C++ library, or the kit's.
if ! ours "$fci" --help >/dev/null 2>&1; then
    libraries=$here/lib/cxx${libraries:+:$libraries}
    if ! why=$(ours "$fci" --help 2>&1 >/dev/null); then
        case $why in
            *GLIBC_*) why="the kit needs glibc $glibc, newer than here: make it on an older system; $why" ;;
            *) grep -qw avx2 /proc/cpuinfo || why="this processor has no AVX2: make the kit with ARCH=x86-64; $why" ;;
        esac
        row kit FAIL 0 "fci does not start here: $why"
        exit 2
    fi
fi
row kit starts 0 "fci $commit; ${gpu:-no nvidia-smi}; budget $budget s"

rm -f "$work/device"
check smoke 5 120 smoke
if [ $? -eq 2 ]; then
    for part in $parts; do [ "$part" = smoke ] || row "$part" skipped 0 'there is no GPU here'; done
    exit 2
fi

for part in $parts; do
    case $part in
        twins) real twins 20 200 tested '[twin]' ;;
        trainer) real trainer 10 150 tested '[gpu]' ;;
        bits)
            check same_seed_twice 40 180 repeated
            check four_at_once 15 120 at_once
            ;;
        bench)
            real bench 70 180 bench
            real bench_tf32 70 180 bench --precision tf32
            real bench_fp16x3 70 180 bench --precision fp16x3
            ;;
        peer) check peer 240 360 peer ;;
        ladder) real ladder 10 60 ladder ;;
        ncu) real ncu 50 120 profile ;;
        memcheck | racecheck | initcheck | synccheck) real "$part" 30 150 sanitize "$part" ;;
        record) # leaves time for the curves, if enough is left for itself
            rest=$((ends - SECONDS))
            case " $parts " in *' curves '*) [ $rest -lt 390 ] || rest=$((rest - 150)) ;; esac
            check record 60 "$rest" record
            ;;
        curves) real curves 150 300 tested '[gpu-curves]' ;;
    esac
done
exit $failed
