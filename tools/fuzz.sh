#!/usr/bin/env bash
# Runs libFuzzer on every parser of fci, under AddressSanitizer and UBSan (tests/fuzz/parsers.h).
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'USAGE'
usage: tools/fuzz.sh [SECONDS] [PARSER ...]        (make fuzz SECONDS=300 PARSERS='config rows')

Fuzzes each parser (default: all) for SECONDS (default: 60), as many at once as there are processors (JOBS=N).
Inputs that reach new code are kept in build/fuzz/corpus/PARSER; the next run starts from them. A finding is kept as
build/fuzz/found/PARSER-...; once fixed, it belongs in tests/fuzz/found/PARSER, which make test replays.
Exit codes: 0 nothing found, 1 a finding, 2 no clang, or unknown parser.

Environment: CLANG (clang++, or the newest clang++-N), JOBS
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
case $seconds in '' | *[!0-9]* | 0*) usage >&2; exit 2 ;; esac

clang=${CLANG:-}
for name in clang++ clang++-{21,20,19,18,17,16,15,14}; do
    [ -n "$clang" ] || clang=$(command -v "$name" || true)
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$scratch/a.cpp"
if [ -z "$clang" ] || ! "$clang" -fsanitize=fuzzer,address "$scratch/a.cpp" -o "$scratch/a" 2>"$scratch/why"; then
    echo "fuzz: needs clang++ with libFuzzer${clang:+; $clang has none}" >&2
    echo "fuzz: Debian, Ubuntu: apt-get install clang libclang-rt-dev (or clang-14 libclang-rt-14-dev); Fedora: dnf install" \
        "clang compiler-rt; Arch: pacman -S clang compiler-rt; macOS: brew install llvm, and CLANG=\$(brew --prefix llvm)/bin/clang++" >&2
    exit 2
fi

program=build/fuzz/fuzz
make NVCC= fci
make $program BUILD=build/fuzz NVCC= CXX="$clang" OPT='-O1 -w' \
    SANITIZE='-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all'
known=$($program --list)
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2086 # a word each
    set -- $known
fi
for parser; do
    grep -qx -- "$parser" <<<"$known" ||
        { echo "fuzz: $parser: no such parser; the parsers are: ${known//$'\n'/, }" >&2; exit 2; }
done

one() { # PARSER: prints one line with the result
    local base=build/fuzz log=build/fuzz/$1.log what=nothing
    mkdir -p "$base/seeds/$1" "$base/corpus/$1" "$base/found"
    local from=("$base/corpus/$1" "$base/seeds/$1")
    [ ! -d "tests/fuzz/found/$1" ] || from+=("tests/fuzz/found/$1")
    FCI_FUZZ=$1 $program --seeds "$base/seeds/$1"
    FCI_FUZZ=$1 $program -max_total_time="$seconds" -dict="$base/seeds/$1.dict" -artifact_prefix="$base/found/$1-" \
        -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 "${from[@]}" >"$log" 2>&1 ||
        what=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    printf '%-20s %12s executions   found: %s\n' "$1" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "${what:-a failure, see $log}"
}
export program seconds
export -f one
printf '%s\n' "$@" | xargs -P "${JOBS:-$(nproc 2>/dev/null || echo 2)}" -I{} bash -c 'one "$1"' - {} | tee "$scratch/all"
! grep -qv 'found: nothing$' "$scratch/all"
