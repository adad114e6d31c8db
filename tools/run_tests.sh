#!/bin/sh
# Runs a Catch2 (version 2 or 3) test binary and ends with one line, "N passed, N failed", counting test cases.
set -u

if [ $# -lt 1 ]; then
    printf 'usage: tools/run_tests.sh BINARY [tests, tags or options of Catch2]\n' >&2
    exit 2
fi
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
trap 'exit 1' HUP INT TERM

# A pipe's exit code is that of its last command: the binary's own goes through a file.
{ "$@" 2>&1; echo $? >"$out/code"; } | tee "$out/log"
code=$(cat "$out/code")

# "All tests passed (123 assertions in 45 test cases)" or "test cases: 45 | 43 passed | 2 failed | 1 skipped"
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
    END { if (found) print passed + 0, failed + 0 }' "$out/log")

if [ -z "$counts" ]; then
    printf 'no summary: the tests stopped early, or none was chosen (exit code %s)\n' "$code"
    counts='0 1'
fi
passed=${counts% *} failed=${counts#* }
if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
    printf 'exit code %s after the summary: a sanitizer, a leak or a crash at the end\n' "$code"
    failed=1
fi
[ "$code" -eq 0 ] && [ "$failed" -ne 0 ] && code=1
printf '%s passed, %s failed\n' "$passed" "$failed"
exit "$code"
