#!/bin/bash
# Measures the codec: bytes and times in the showcase formats, beside zlib, npz, JPEG and the entropy bound; as Markdown.
#
#   bench/codec.sh [--level N] [--rounds N] [--coders] [FOLDER...]
#
# --coders adds what each entropy coder makes of the same coefficients. The folders default to weather and blood_cells in
# $IMAGECALC_DATA (default ../shared/data). Needs what scripts/setup.sh installs. Leave the machine alone
# while it runs.
set -euo pipefail

words=()
folders=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; exit ;;
    --level | --rounds) words+=("$1" "${2:?$1 needs a number}"); shift 2 ;;
    -*) words+=("$1"); shift ;;
    *) folders+=("$(realpath "$1")"); shift ;;
  esac
done
cd "$(dirname "$0")/.."
data=${IMAGECALC_DATA:-../shared/data}
[ ${#folders[@]} -gt 0 ] || folders=("$data/weather" "$data/blood_cells")

{
  cmake -S . -B build/bench -DIMAGECALC_BENCH=ON -DIMAGECALC_RUNNER=OFF -DIMAGECALC_TESTS=OFF
  cmake --build build/bench -j "$(nproc)" --target imagecalc-bench-codec
} >&2
exec build/bench/bench/imagecalc-bench-codec "${words[@]}" "${folders[@]}"
