#!/bin/sh
# Rewrites the tables of README.md, FINDINGS.md and runs/tables/*.md, and the figures runs/figures/*.svg, from the
# recorded results; with --check it only reports which are stale.
# A table is between two lines, and is the output of the command when it sees only recorded results:
#   <!-- ./fci table table3 --scale small --format md -->
#   <!-- end -->
set -eu
cd "$(dirname "$0")/.."
FCI=${FCI_BIN:-./fci}
stale=0

# Replaces the old file by the new one, or with --check reports the difference. The new file is removed.
replace() {
    if cmp -s "$1" "$2"; then
        :
    elif [ "$check" = --check ]; then
        echo "tools/docs.sh: $1 is stale; run tools/docs.sh:" >&2
        diff "$1" "$2" >&2 || true
        stale=1
    else
        cat "$2" >"$1"
        echo "tools/docs.sh: $1 rewritten"
    fi
    rm "$2"
}

check=${1-}
for doc in README.md FINDINGS.md runs/tables/*.md; do
    new=$(mktemp)
    while IFS= read -r line; do
        case $line in
        '<!-- ./fci '*' -->')
            echo "$line"
            command=${line#'<!-- ./fci '}
            # shellcheck disable=SC2086  # words of a command
            $FCI ${command%' -->'} --results runs/results </dev/null
            while
                IFS= read -r line || { echo "tools/docs.sh: $doc: no <!-- end --> after $command" >&2; exit 1; }
                [ "$line" != '<!-- end -->' ]
            do :; done
            ;;
        esac
        printf '%s\n' "$line"
    done <"$doc" >"$new"
    replace "$doc" "$new"
done
for figure in runs/figures/*.svg; do
    new=$(mktemp -d)
    $FCI plot "$(basename "$figure" .svg)" --scale paper --results runs/results --out "$new/figure.svg" >/dev/null </dev/null
    replace "$figure" "$new/figure.svg"
    rm -r "$new"
done
exit $stale
