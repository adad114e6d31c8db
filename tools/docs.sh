#!/bin/sh
# Writes the tables of README.md, FINDINGS.md and runs/tables/*.md anew from the recorded results; with --check only says
# which are stale.
# A table stands between two lines, and is what the command prints when it sees recorded results only:
#   <!-- ./fci table table3 --scale small --format md -->
#   <!-- end -->
set -eu
cd "$(dirname "$0")/.."
FCI=${FCI_BIN:-./fci}
stale=0
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
    if cmp -s "$doc" "$new"; then
        rm "$new"
    elif [ "${1-}" = --check ]; then
        echo "tools/docs.sh: $doc is stale; run tools/docs.sh:" >&2
        diff "$doc" "$new" >&2 || true
        rm "$new"
        stale=1
    else
        cat "$new" >"$doc"
        rm "$new"
        echo "tools/docs.sh: $doc written anew"
    fi
done
exit $stale
