#!/bin/sh
# Kills training runs with SIGKILL at random moments, resumes each until it is done, and compares the final parameters
# and moments with those of an undisturbed run, byte by byte. Exit code 1 if any trial differs.
#
#   tools/kill_test.sh [TRIALS=20]        FCI_BIN names the program (default ./fci)
set -u

trials=${1:-20}
fci=${FCI_BIN:-./fci}
case $trials in
'' | *[!0-9]* | 0)
    printf 'usage: tools/kill_test.sh [TRIALS=20]\n' >&2
    exit 2
    ;;
esac
if ! [ -x "$fci" ]; then
    printf '%s is not there: build it (make), or set FCI_BIN\n' "$fci" >&2
    exit 2
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Checkpoints are written within epochs too, so that some kills happen during a write.
start() { # FOLDER [FLAG...]
    folder=$1
    shift
    exec "$fci" train --task mqar --length 64 --pairs 8 --vocab 32 --sequences 96 --test-sequences 32 \
        --representation bidir-flow:1 --d-model 32 --heads 2 --batch 8 --epochs 20 --learning-rate 1e-2 \
        --checkpoint-every 5 --out "$folder" "$@"
}

# All tensors: the bytes after the header, whose length is in the first 8 bytes. The header is not compared: it holds
# the length of the log, which contains times.
tensors() { # CHECKPOINT
    tail -c +"$(($(od -An -N8 -tu8 "$1" | tr -d ' ') + 9))" "$1"
}

(start "$work/reference" --json --quiet) >"$work/json" || {
    printf 'the reference run failed\n' >&2
    exit 1
}
seconds=$(sed -n 's/.*"seconds":\([0-9.]*\).*/\1/p' "$work/json")
tensors "$work/reference/checkpoint.safetensors" >"$work/expected"
printf 'reference: %s s, %s bytes of tensors\n' "$seconds" "$(wc -c <"$work/expected" | tr -d ' ')"

random_moment() { # below the length of a whole run
    awk -v r="$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')" -v s="$seconds" 'BEGIN { printf "%.4f", r / 65536 * s }'
}

differing=0 trial=1
while [ "$trial" -le "$trials" ]; do
    run=$work/run
    rm -rf "$run"
    kills='' code=137
    for _ in 1 2 3; do # at most three kills; then it may run to its end
        moment=$(random_moment)
        if [ -f "$run/config.toml" ]; then
            "$fci" train --resume "$run" --quiet >/dev/null 2>"$work/errors" &
        else # killed before it began: nothing to resume yet
            rm -rf "$run"
            (start "$run" --quiet) >/dev/null 2>"$work/errors" &
        fi
        pid=$!
        sleep "$moment"
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        code=$?
        [ "$code" -ne 0 ] || break
        lines=0
        [ ! -f "$run/log.jsonl" ] || lines=$(wc -l <"$run/log.jsonl" | tr -d ' ')
        kills="$kills $moment s ($lines log lines)"
    done
    if [ "$code" -ne 0 ]; then
        if [ -f "$run/config.toml" ]; then
            "$fci" train --resume "$run" --quiet >/dev/null 2>"$work/errors"
        else
            rm -rf "$run"
            (start "$run" --quiet) >/dev/null 2>"$work/errors"
        fi
        code=$?
    fi
    verdict=different
    if [ "$code" -eq 0 ] && tensors "$run/checkpoint.safetensors" | cmp -s - "$work/expected"; then verdict=equal; fi
    printf 'trial %s: %s; killed after%s\n' "$trial" "$verdict" "${kills:- nothing: it was faster}"
    if [ "$verdict" != equal ]; then
        printf '  exit code %s: %s\n' "$code" "$(cat "$work/errors")"
        differing=$((differing + 1))
    fi
    trial=$((trial + 1))
done
printf '%s trials: %s equal, %s different\n' "$trials" "$((trials - differing))" "$differing"
[ "$differing" -eq 0 ]
