#!/usr/bin/env bash
# Adds results that were made elsewhere, for example by the kit of tools/gpu_kit.sh, to the record in runs/results.
#
#   tools/merge_results.sh FOLDER|FILE ...      FILE: SCALE.jsonl; FOLDER: its results/*.jsonl, or its *.jsonl
#
# Refused, each with the reason: lines from a commit that is not an ancestor of HEAD, or with changes; lines from a mock
# or an emulator instead of a GPU; lines cut short. Known: runs of which the record has as much or more. The rest is
# added unchanged, once fci has read all of it. This is a script because git knows the commits; only fci can check that
# a line is a whole result of this version. FCI_BIN: another program than ./fci; RECORD: another than runs/results.
# Exit codes: 0, also if nothing was new or lines were refused; 1: something cannot be read or written; 2: usage; 3: fci
# refuses a line, and nothing is added.
set -euo pipefail
say() { printf 'merge_results: %s\n' "$*" >&2; }
die() { say "${*:2}"; exit "$1"; }
[ $# -gt 0 ] || die 2 "usage: tools/merge_results.sh FOLDER|FILE ..."
files=()
for from in "$@"; do
    [ -e "$from" ] || die 2 "$from is not there"
    [ ! -d "$from/results" ] || from=$from/results
    if [ -d "$from" ]; then
        found=("$from"/*.jsonl)
        [ -e "${found[0]}" ] || die 2 "$from has no .jsonl files"
        files+=("${found[@]}")
    else
        files+=("$from")
    fi
done
for i in "${!files[@]}"; do files[i]=$(realpath "${files[i]}"); done
cd "$(dirname "$0")/.."
fci=${FCI_BIN:-./fci} record=${RECORD:-runs/results}
[ -x "$fci" ] || die 1 "$fci is not there: make fci, or set FCI_BIN"
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# Sets run, which identifies the run, and rank: a result with a final test ranks highest; a stopped run ranks by its
# epochs, and below any whole run.
begins='^\{"version":-?[0-9]+,"hash":"([0-9a-f]{16})","scale":"[a-z]+","seed":[0-9]+,("stopped_after":([0-9]+),)?'
look() {
    [[ $1 =~ $begins && $1 == *'}' ]] || return 1
    run=${BASH_REMATCH[1]} rank=${BASH_REMATCH[3]:-1000000000}
    [[ ! $1 =~ \"on\":\{[^\}]*\"data_hash\":\"([0-9a-f]*)\" ]] || run+=@${BASH_REMATCH[1]}
    [[ $1 != *'"final":{'* ]] || rank=$((rank + 1))
}

declare -A verdict # per commit
judge() { # COMMIT
    local why=''
    case $1 in
        *-dirty) why="its tree had changes" ;;
        *) git rev-parse -q --verify "$1^{commit}" >/dev/null || why="it is not known here" ;;
    esac
    [ -n "$why" ] || git merge-base --is-ancestor "$1" HEAD || why="it is not an ancestor of HEAD"
    verdict[$1]=${why:-ok}
    [ -z "$why" ] || say "commit $1: $why"
}

added=0 known=0 refused=0
for file in "${files[@]}"; do
    name=${file##*/} name=${name%.jsonl}
    [ -f "$record/$name.jsonl" ] || die 2 "$file: there is no $record/$name.jsonl to add it to"
    declare -A have=()
    while IFS= read -r line; do
        ! look "$line" || [ "$rank" -le "${have[$run]:-0}" ] || have[$run]=$rank
    done < <(cat "$record/$name.jsonl" "$new/$name.jsonl" 2>/dev/null)
    while IFS= read -r line || [ -n "$line" ]; do
        [ -n "$line" ] || continue
        commit=unknown
        [[ ! $line =~ \"git\":\"([0-9a-z-]+)\" ]] || commit=${BASH_REMATCH[1]}
        if ! look "$line"; then
            say "$file: a line is cut short, or is not a result: $(printf '%.60s' "$line")"
            refused=$((refused + 1))
        elif [[ $line =~ \"device\":\"(mock|emulator) ]]; then
            say "$file: $run: the device was a ${BASH_REMATCH[1]}"
            refused=$((refused + 1))
        elif [ -n "${verdict[$commit]:-}" ] || judge "$commit"; [ "${verdict[$commit]}" != ok ]; then
            refused=$((refused + 1))
        elif [ "$rank" -le "${have[$run]:-0}" ]; then
            known=$((known + 1))
        else
            have[$run]=$rank added=$((added + 1))
            printf '%s\n' "$line" >>"$new/$name.jsonl"
        fi
    done <"$file"
done

# fci reads each line, and prints a note for a line that it would leave out.
for file in "$new"/*.jsonl; do
    [ -e "$file" ] || continue
    code=0
    notes=$("$fci" table f2.raw --scale "$(basename "$file" .jsonl)" --results "$new" 2>&1 >/dev/null) || code=$?
    if [ $code -ne 0 ] || grep -qF "$new/" <<<"$notes"; then die 3 "nothing is added: ${notes//"$new/"/}"; fi
done
for file in "$new"/*.jsonl; do
    [ -e "$file" ] || continue
    to=$record/${file##*/}
    [ -z "$(tail -c 1 "$to")" ] || echo >>"$to"
    cat "$file" >>"$to"
done
echo "$added new, $known known, $refused refused"
[ $added -eq 0 ] || echo "run tools/docs.sh to rewrite the tables"
