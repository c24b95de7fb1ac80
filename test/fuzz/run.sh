#!/bin/bash
# Runs one fuzz target from its committed corpus for IMAGECALC_FUZZ_SECONDS (default 60), and says in a line how far it came.
#
#   run.sh TARGET-PROGRAM FOUND-FOLDER CORPUS [DICTIONARY]
#
# New inputs are kept in FOUND-FOLDER/corpus and used by the next run; an input that breaks something in FOUND-FOLDER itself.
set -uo pipefail
target=$1 found=$2 corpus=$3 dictionary=${4:-}
seconds=${IMAGECALC_FUZZ_SECONDS:-60}

mkdir -p "$found/corpus"
log=$found/log
"$target" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
  -artifact_prefix="$found/" ${dictionary:+-dict="$dictionary"} "$found/corpus" "$corpus" >"$log" 2>&1
status=$?

executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
coverage=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1)
echo "$(basename "$target"): ${executions:-0} executions, ${coverage#cov: } edges covered in ${seconds} s"
if [ $status != 0 ]; then
  tail -n 60 "$log"
  grep -h '^Test unit written\|^artifact_prefix' "$log"
fi
exit $status
