#!/usr/bin/env bash
# Runs an experiment of this folder with every learning rate of a grid and
# prints the rounds to its target: as the paper chose its learning rates.
set -euo pipefail

usage() {
    printf 'usage: %s EXPERIMENT.toml [--rates "R R ..."] [ARGUMENT OF zfl run]...\n' "$0" >&2
    exit 2
}

# A factor of 10^(1/3) from one to the next.
rates="0.01 0.0215 0.0464 0.1 0.215 0.464 1"

[ $# -ge 1 ] || usage
experiment=$1
shift
[ -f "$experiment" ] || usage
if [ "${1-}" = --rates ]; then
    [ $# -ge 2 ] || usage
    rates=$2
    shift 2
fi
zfl=${ZFL:-target/release/zfl}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The whole number or the `null` of a key of summary.json.
value() {
    sed -n 's/^.*"'"$2"'": *\([^,}]*\).*$/\1/p' "$1" | head -n 1
}

# Rounds to the best so far: more of them cannot win.
best=
printf '| learning rate | rounds to target | accuracy | rounds played |\n|---|---|---|---|\n'
for rate in $rates; do
    out=$folder/$rate
    bound=()
    [ -z "$best" ] || bound=(--set "rounds=$best")
    # A run that diverges ends with an error, and has its summary too.
    "$zfl" run "$experiment" "$@" --set "training.learning-rate=$rate" "${bound[@]}" \
        --out "$out" >"$folder/said" 2>&1 || true
    if [ ! -f "$out/summary.json" ]; then
        cat "$folder/said" >&2
        exit 1
    fi
    reached=$(value "$out/summary.json" target_accuracy_round)
    if [ "$reached" = null ]; then
        shown="not in $(value "$out/summary.json" rounds)"
    else
        shown=$reached
        best=$reached
    fi
    printf '| %s | %s | %s | %s |\n' "$rate" "$shown" \
        "$(value "$out/summary.json" accuracy)" "$(value "$out/summary.json" rounds)"
done
