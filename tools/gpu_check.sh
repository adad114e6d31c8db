#!/usr/bin/env bash
# The proof on a real GPU, from a fresh clone, in under 10 minutes: builds with nvcc, runs what no machine without a GPU
# can, and prints a table of pass, FAIL and skipped. The exit code is 1 if anything failed, 2 if there is no GPU.
#
#   tools/gpu_check.sh [PART ...]      all parts, or these
#
#   build      fci and the tests, for this GPU alone (CUDA_ARCH=... for others), warnings as errors
#   twins      every CUDA op, node, model step and teaching kernel against the CPU's, and the trainer's tests
#   sanitizer  compute-sanitizer's memcheck, racecheck, initcheck and synccheck over the first rows of each op
#   bits       runs repeated, and four at once: the same bits
#   curves     200 steps of every representation: no further from the CPU's than an ulp's difference at the start leads
#   bench      fci bench --device cuda, in fp32 and in TF32: text in the log, JSON beside it
#   ladder     the teaching kernels, step by step
#
# Logs, and the table as checks.tsv, are in build/gpu_check. BUILD is the folder of the objects (build/gpu).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
export BUILD=${BUILD:-build/gpu}
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
logs=$root/build/gpu_check
fci=$root/$BUILD/fci
tests=$root/$BUILD/tests/run_gpu
jobs=$(nproc 2>/dev/null || echo 4)
all='build twins sanitizer bits curves bench ladder'
parts=${*:-$all}
for part in $parts; do
    case " $all " in *" $part "*) ;; *) printf 'gpu_check: %s is not one of: %s\n' "$part" "$all" >&2; exit 2 ;; esac
done
mkdir -p "$logs"
table=$logs/checks.tsv
: >"$table"
failed=0

# NAME SECONDS FUNCTION...: a line of the table. An exit code of 77 means skipped; its last line says why.
check() {
    local name=$1 limit=$2 begin=$SECONDS code verdict said
    shift 2
    printf '== %s\n' "$name"
    timeout --kill-after=5 "$limit" bash -uc '"$@"' check "$@" >"$logs/$name.log" 2>&1
    code=$?
    said=$(grep -v '^[[:space:]]*$' "$logs/$name.log" | tail -n 1 | tr '\t' ' ')
    case $code in
        0) verdict=pass ;;
        77) verdict=skipped ;;
        124 | 137) verdict=FAIL said="not done after $limit s" ;;
        *) verdict=FAIL ;;
    esac
    if [ "$verdict" = FAIL ]; then
        failed=1
        tail -n 25 "$logs/$name.log"
    fi
    printf '%s\t%s\t%d\t%s\n' "$name" "$verdict" $((SECONDS - begin)) "$said" >>"$table"
}

# --- build ------------------------------------------------------------------

# 90 for a GPU of compute capability 9.0; all that the Makefile knows where the driver does not tell.
this_arch() { nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc 0-9; }

build() {
    tools/deps.sh --check || tools/deps.sh || echo "some of these libraries are missing: the build will say which"
    local arch=${CUDA_ARCH:-$(this_arch)}
    make -j"$jobs" WERROR=1 ${arch:+CUDA_ARCH="$arch"} \
        "$BUILD/fci" "$BUILD/tests/run_gpu" "$BUILD/ladder" || return 1
    echo "for sm_${arch:-80, 90, 120}"
}

# --- parts ------------------------------------------------------------------

# That there is a GPU, in the program's own words if not.
gpu() {
    rm -rf "$logs/first"
    "$fci" train --device cuda --task mqar --length 32 --pairs 4 --sequences 64 --test-sequences 8 --epochs 1 \
        --representation raw --out "$logs/first" --quiet
}

twins() { tools/run_tests.sh "$tests" "$1"; }

# TOOL: --error-exitcode makes what it finds the exit code; the tests' own failures are theirs. Libraries try calls that
# may fail, which are no errors of ours. Lazy: each tool rewrites what is loaded, and cuBLAS is half a gigabyte.
sanitize() {
    local tool=$1 extra=()
    command -v compute-sanitizer >/dev/null || { echo "there is no compute-sanitizer here"; return 77; }
    [ "$tool" != memcheck ] || extra=(--leak-check no --report-api-errors no)
    CUDA_MODULE_LOADING=LAZY FCI_TWIN_DRAWS=1 FCI_TWIN_ROWS=2 \
        compute-sanitizer --tool "$tool" "${extra[@]}" --error-exitcode 9 --print-limit 20 \
        "$tests" 'op table twin*,every step of the ladders*,twins: the right places*'
    local code=$?
    if grep -qE 'Device not supported|Unable to|not supported on this' "$logs/$tool.log" && [ $code -ne 0 ]; then
        echo "compute-sanitizer cannot look into this GPU"
        return 77
    fi
    grep -E 'SUMMARY' "$logs/$tool.log" | tail -n 1
    return $code
}

# FOLDER JOBS: every row of the paper at scale smoke.
sweep_into() {
    rm -rf "${logs:?}/$1" && mkdir -p "$logs/$1" || return 1
    (cd "$logs/$1" && "$fci" sweep all --scale smoke --device auto --threads 1 --jobs "$2" --quiet)
}
# A checkpoint's tensors: after 8 bytes that count the header, and the header, which counts the bytes of a log.
tensors() { tail -c +$((9 + $(od -An -tu8 -N8 "$1" | tr -d ' '))) "$1" | sha256sum; }
bits_of() { # FOLDER
    (cd "$logs/$1/runs/out" && for f in sweep/*/checkpoint.safetensors; do echo "$f $(tensors "$f")"; done &&
        sed 's/"seconds":[^,]*,//' results/smoke.jsonl | sort)
}
same_bits() { # FOLDER FOLDER
    bits_of "$1" >"$logs/$1.bits" && bits_of "$2" >"$logs/$2.bits" || return 1
    grep '"representation":"transformer:1"' "$logs/$1.bits" | grep -q '"device":"cpu"' &&
        echo "the runs were not made on the GPU" && return 1
    cmp "$logs/$1.bits" "$logs/$2.bits" && echo "$(grep -c '"seed":' "$logs/$1.bits") runs, the same bits"
}
repeated() { sweep_into once 1 && sweep_into again 1 && same_bits once again; }
at_once() { { [ -d "$logs/once" ] || sweep_into once 1; } && sweep_into four 4 && same_bits once four; }

curves() { "$tests" '[gpu-curves]'; }

bench() { # NAME FLAGS
    local name=$1
    shift
    "$fci" bench --device cuda "$@" --json >"$logs/$name.json" && echo "in $name.json"
}

ladder() { "$root/$BUILD/ladder"; }

export -f build this_arch gpu twins sanitize sweep_into tensors bits_of same_bits repeated at_once curves bench ladder
export root logs fci tests jobs

# --- the table --------------------------------------------------------------

found=
for part in $parts; do
    if [ "$part" != build ] && [ -z "$found" ]; then
        check gpu 60 gpu
        found=$(awk -F '\t' '$1 == "gpu" { print $2 }' "$table")
        if [ "$found" != pass ]; then
            failed=2
            break
        fi
    fi
    case $part in
        build) check build 500 build ;;
        twins)
            check twins 300 twins '[twin]'
            check trainer 200 twins '[gpu]'
            ;;
        sanitizer) for tool in memcheck racecheck initcheck synccheck; do check "$tool" 100 sanitize "$tool"; done ;;
        bits)
            check same_seed_twice 150 repeated
            check four_at_once 150 at_once
            ;;
        curves) check curves 300 curves ;;
        bench)
            check bench 150 bench bench
            check bench_tf32 150 bench bench_tf32 --tf32
            ;;
        ladder) check ladder 60 ladder ;;
    esac
done

printf '\n%s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"
awk -F '\t' '{ printf "%-18s%-9s%5d s  %s\n", $1, $2, $3, $4 }' "$table"
exit $failed
