#!/bin/sh
# Runs a Catch2 (version 2 or 3) test binary, several parts of its tests at once, and ends with one line, "N passed, N
# failed", counting test cases. TEST_JOBS: how many parts at once (default: the number of processors, up to 8).
set -u

if [ $# -lt 1 ]; then
    printf 'usage: tools/run_tests.sh BINARY [tests, tags or options of Catch2]\n' >&2
    exit 2
fi
binary=$1
shift
jobs=${TEST_JOBS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}
[ "$jobs" -le 8 ] || jobs=8
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
trap 'trap "" TERM; kill 0; exit 1' HUP INT TERM

# PART ARGUMENTS...: a pipe's exit code is that of its last command, so the binary's exit code goes through a file.
run() {
    part=$1
    shift
    { "$binary" "$@" 2>&1; echo $? >"$part.code"; } | tee "$part.log"
}
# Splits by name if the binary can list names (version 3 cannot). Many small parts end at about the same time;
# neighbouring tests, which are alike, go to different parts. A comma in a name would split it. A part that passes is
# shown when it is done; failed parts come last, so that a log of which only the end is kept still has them.
case " $*" in *' -'*) jobs=1 ;; esac # options would be lost
if [ "$jobs" -gt 1 ] && "$binary" --list-test-names-only "$@" >"$out/names" 2>/dev/null; [ -s "$out/names" ]; then
    awk -v parts=$((jobs * 8)) -v out="$out" '{ gsub(/,/, "\\\\,"); print > (out "/part" NR % parts) }' "$out/names"
    # shellcheck disable=SC2016 # expanded by the inner shell
    find "$out" -name 'part*' -print0 | BINARY=$binary xargs -0 -P "$jobs" -I '{}' sh -c '
        "$BINARY" --input-file "{}" >"{}.log" 2>&1
        code=$?
        echo "$code" >"{}.code"
        [ "$code" -ne 0 ] || grep -v "^Filters: " "{}.log"'
    for part in "$out"/part*.log; do
        [ "$(cat "${part%.log}.code")" -eq 0 ] || grep -v '^Filters: ' "$part"
    done
else
    run "$out/part" "$@"
fi

# "All tests passed (123 assertions in 45 test cases)" or "test cases: 45 | 43 passed | 2 failed | 1 skipped"
passed=0 failed=0 worst=0
for part in "$out"/part*.log; do
    code=$(cat "${part%.log}.code")
    counts=$(awk '
        /^All tests passed \(/ { for (i = 1; i < NF; ++i) if ($(i + 1) == "test") passed = $i; failed = 0; found = 1 }
        /^test cases:/ {
            passed = failed = 0; found = 1
            n = split($0, part, "|")
            for (i = 2; i <= n; ++i) {
                split(part[i], word, " ")
                if (word[2] == "passed") passed += word[1]
                if (word[2] == "failed") failed += word[1]
            }
        }
        END { if (found) print passed + 0, failed + 0 }' "$part")
    if [ -z "$counts" ]; then
        printf 'no summary: the tests stopped early, or none was chosen (exit code %s)\n' "$code"
        counts='0 1'
    elif [ "$code" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
        printf 'exit code %s after the summary: a sanitizer, a leak or a crash at the end\n' "$code"
        counts="${counts% *} 1"
    fi
    passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
    [ "$code" -le "$worst" ] || worst=$code
done
listed=$(grep -c . "$out/names" 2>/dev/null)
if [ "${listed:-0}" -gt 0 ] && [ $((passed + failed)) -lt "$listed" ] && [ "$failed" -eq 0 ]; then
    printf '%s tests are listed, %s ran\n' "$listed" "$passed"
    failed=1
fi
[ "$worst" -ne 0 ] || [ "$failed" -eq 0 ] || worst=1
printf '%s passed, %s failed\n' "$passed" "$failed"
exit "$worst"
