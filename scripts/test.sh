#!/bin/bash
# Builds and installs imagecalc, then runs its tests: all of them, or the stages named.
#
#   scripts/test.sh [--torch pip] [unit] [sanitize] [fuzz] [regress] [pgtap[:FILE]] [libtorch] [devices] [cuda] [tap[:FILE]]
#                   [readme]
#
# --torch pip: with the LibTorch of PyPI's current PyTorch (scripts/pytorch.sh) instead of Debian's 1.13. The server's user must be
# able to read this folder.
# FILE picks files by their names without suffix: pgtap:infer, tap:'00[13]*'.
# sanitize and cuda run in the background of the stages that need a server. cuda downloads 1.3 GB once; where PyPI is out of reach
# it is left out, unless it is named.
# Each fuzz target runs for IMAGECALC_FUZZ_SECONDS (default 60); an input that breaks something stays in build/fuzz.
# IMAGECALC_DATA names the folder with photographs (default ../shared/data); where it is absent pictures are drawn.
# The tests see IMAGECALC_PICTURES (a folder with labels.csv) and IMAGECALC_MODELS (small-cnn-{script,trace,frozen}.pt,
# linear-script.pt, small-cnn.onnx), the pgTAP ones as the psql variables `pictures` and `models`; for these the pictures are
# in the table pictures as well.
# A server-level test that makes a server complain says so: a comment `# expects in the log: TEXT` for each such text.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

ALARMS='terminated by signal|PANIC|internal error'
passed=0
failed=0

count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
}

matches() {
  grep -cE "$1" "$2" || true
}

# count_or_complain NAME PASSED FAILED [STATUS]: neither a stage that finds nothing to run, nor one that breaks off without a
# failed test, may pass for one that ran well.
count_or_complain() {
  if [ $(($2 + $3)) = 0 ]; then
    echo "$1: no test ran"
    count 0 1
  elif [ "$3" = 0 ] && [ "${4:-0}" != 0 ]; then
    echo "$1: broke off"
    count "$2" 1
  else
    count "$2" "$3"
  fi
}

build_unit_tests() {
  cmake -S . -B build -DIMAGECALC_TESTS=ON && cmake --build build -j "$(nproc)"
}

# run_ctest NAME FOLDER: skipped tests neither pass nor fail.
run_ctest() {
  local log="$LOGS/${1// /-}.log" status=0
  stage "$1" ctest --test-dir "$2" --output-on-failure --no-tests=error -j "$(nproc)" || status=1
  count_or_complain "$1" "$(matches '^ *[0-9]+/[0-9]+ .* Passed ' "$log")" \
    "$(matches '^ *[0-9]+/[0-9]+ .*\*\*\*[^S]' "$log")" $status
}

run_unit() {
  stage "build unit tests" build_unit_tests || { count 0 1; return; }
  run_ctest "unit tests" build
}

# The layers that read bytes from outside, with AddressSanitizer and UndefinedBehaviorSanitizer.
build_sanitized() {
  cmake -S . -B build/sanitized -DIMAGECALC_TESTS=ON -DIMAGECALC_RUNNER=OFF -DIMAGECALC_SANITIZE=ON &&
    cmake --build build/sanitized --target imagecalc_unit_tests -j "$(nproc)"
}

run_sanitize() {
  stage "build sanitized unit tests" build_sanitized || { count 0 1; return; }
  run_ctest "sanitized unit tests" build/sanitized
}

build_fuzz_targets() {
  cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DIMAGECALC_FUZZ=ON -DIMAGECALC_TESTS=OFF -DIMAGECALC_RUNNER=OFF &&
    cmake --build build/fuzz --target fuzz_targets -j "$(nproc)"
}

run_fuzz() {
  local log=$LOGS/fuzz-targets.log status=0
  stage "build fuzz targets" build_fuzz_targets || { count 0 1; return; }
  stage "fuzz targets" ctest --test-dir build/fuzz --verbose --no-tests=error -j "$(nproc)" || status=1
  grep -oE 'fuzz_[a-z_]+: [0-9]+ executions.*|Test unit written to .*' "$log" || true
  count_or_complain "fuzz targets" "$(matches '^ *[0-9]+/[0-9]+ .* Passed ' "$log")" \
    "$(matches '^ *[0-9]+/[0-9]+ .*\*\*\*[^S]' "$log")" $status
}

# The lines of the README's first screen, as they stand.
type_readme() {
  createdb readme && export PGDATABASE=readme && place_files "$work/models/small-cnn-script.pt" && load_pictures &&
    sed -n '/<!-- first screen/,/^```$/{/^<!--/d;/^```/d;p}' README.md | psql -X -a -v ON_ERROR_STOP=1
}

# The demo with hardly any training, so that what it learns is not judged.
run_short_demo() {
  createdb demo && export PGDATABASE=demo && place_files "$work/models/small-cnn-script.pt" && load_pictures &&
    psql -X -q -v ON_ERROR_STOP=1 -v epochs=2 -v least_accuracy=0 <scripts/demo.sql
}

run_readme() {
  if (stage "README's first screen" type_readme); then count 1 0; else count 0 1; fi
  if (stage "the demo, in short" run_short_demo); then count 1 0; else count 0 1; fi
}

run_regress() {
  local log=$LOGS/pg_regress.log status=0
  mkdir -p "$work/regress"
  stage "pg_regress" make installcheck PG_CONFIG="$PG_BIN/pg_config" EXTRA_REGRESS_OPTS="--outputdir=$work/regress" ||
    status=1
  cat "$work/regress/regression.diffs" 2>/dev/null || true
  count_or_complain "pg_regress" "$(matches '\.\.\. ok ' "$log")" "$(matches '\.\.\. FAILED' "$log")" $status
}

# Once for all stages that use it.
make_pgtap_template() {
  if psql -X -d pgtap_template -c 'SELECT FROM pictures LIMIT 1'; then return 0; fi
  createdb pgtap_template &&
    psql -X -d pgtap_template -v ON_ERROR_STOP=1 -v pictures="$work/pictures" <<END
CREATE EXTENSION pgtap;
CREATE EXTENSION imagecalc;
CREATE TEMP TABLE label (file text, label text, split text);
\\copy label FROM '$work/pictures/labels.csv' (FORMAT csv, HEADER)
CREATE TABLE pictures (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, file text, label text, split text, jpeg bytea);
INSERT INTO pictures (file, label, split, jpeg)
  SELECT file, label, split, pg_read_binary_file(:'pictures' || '/' || file) FROM label ORDER BY file;
END
}

# Each file in a database of its own, so that none sees what another has left.
run_pgtap_file() {
  dropdb --if-exists --force pgtap_run && createdb -T pgtap_template pgtap_run &&
    pg_prove --norc --nocolor -d pgtap_run --set pictures="$work/pictures" --set models="$work/models" "$1"
}

# run_pgtap_files NAME FILE...
run_pgtap_files() {
  local name=$1 file good=0 bad=0
  shift
  stage "pgTAP pictures" make_pgtap_template || { count 0 1; return; }
  for file in "$@"; do
    [ -f "$file" ] || continue
    if stage "$name $(basename "$file" .sql)" run_pgtap_file "$file"; then good=$((good + 1)); else bad=$((bad + 1)); fi
  done
  count_or_complain "$name" $good $bad
}

run_pgtap() {
  run_pgtap_files "pgTAP" test/pgtap/$1.sql
}

build_libtorch_runner() {
  cmake -S . -B build && cmake --build build --target imagecalc-runner-libtorch -j "$(nproc)"
}

restart_server() {
  (cd "$work" && as_server "$PG_BIN/pg_ctl" -D "$work/data" -l "$work/server.log" -m fast -w restart)
}

# The installed runner, while another stands in its place.
kept_runner=

use_libtorch_runner() {
  local runner
  runner=$("$PG_BIN/pg_config" --pkglibdir)/imagecalc-runner
  as_root cp -p "$runner" "$runner.kept" && kept_runner=$runner.kept &&
    as_root install build/src/runner/imagecalc-runner-libtorch "$runner" && restart_server
}

# What the CPU can stand in for of a machine with GPUs: the plug-in of the unit tests, in the place of CUDA's.
use_host_device() {
  as_root install build/test/runner/host-device.so "$("$PG_BIN/pg_config" --pkglibdir)/imagecalc-cuda.so" &&
    placed_plugin=yes && restart_server
}

placed_plugin=

remove_host_device() {
  [ -n "$placed_plugin" ] || return 0
  as_root rm -f "$("$PG_BIN/pg_config" --pkglibdir)/imagecalc-cuda.so" && placed_plugin=
}

restore_runner() {
  [ -n "$kept_runner" ] || return 0
  as_root mv -f "$kept_runner" "${kept_runner%.kept}" && kept_runner=
}

is_libtorch_alone() {
  [ "$(psql -X -At -d pgtap_run -c 'SELECT engines FROM ic_stat_runner')" = '{libtorch}' ]
}

# The inference tests where OpenVINO is absent.
run_libtorch() {
  stage "build a runner without OpenVINO" build_libtorch_runner && stage "install it" use_libtorch_runner ||
    { count 0 1; restore_runner; return; }
  run_pgtap_files "LibTorch alone:" test/pgtap/{infer,engines,batch_infer,runner_statistics}.sql
  if stage "it was that runner" is_libtorch_alone; then count 1 0; else count 0 1; fi
  restore_runner && stage "the other runner again" restart_server || count 0 1
}

# The inference tests where models run on devices.
run_devices() {
  stage "build a device" build_unit_tests && stage "install it" use_host_device || { count 0 1; remove_host_device; return; }
  run_pgtap_files "devices:" test/pgtap/{infer,devices,design_devices,evaluate}.sql
  if stage "they were used" has_devices; then count 1 0; else count 0 1; fi
  remove_host_device && stage "without them again" restart_server || count 0 1
}

has_devices() {
  [ "$(psql -X -At -d pgtap_run -c 'SELECT cardinality(devices) FROM ic_stat_runner')" = 2 ]
}

# Compiles and links what needs CUDA; the kernels' tests are skipped where there is no GPU. What the kernels do the unit tests
# try on the CPU.
run_cuda() {
  if [ -n "$all_stages" ] && ! can_have_pytorch; then
    echo "CUDA                               left out: neither PyTorch nor PyPI is there"
    return
  fi
  if stage "CUDA" scripts/build_cuda.sh --link-only; then count 1 0; else count 0 1; fi
  tail -n 2 "$LOGS/CUDA.log"
}

# Whether PyPI can be reached a small package tells.
can_have_pytorch() {
  [ -d .deps/pytorch/torch ] ||
    /usr/bin/python3 -m pip download --quiet --retries 1 --no-deps --dest "$work/reach" nvidia-nvtx >"$LOGS/PyPI.log" 2>&1
}

run_tap_file() {
  (cd "$work/tap" && as_server env PATH="$PG_BIN:$PATH" TESTDIR="$work/tap" \
    PERL5LIB="$PGXS_TEST/perl" PG_REGRESS="$PGXS_TEST/regress/pg_regress" \
    IMAGECALC_PICTURES="$work/pictures" IMAGECALC_MODELS="$work/models" \
    prove --norc --nocolor -v "$1")
}

unexpected_alarms() {
  local test=$1
  sed -n 's/^# expects in the log: //p' "$work/tap/$test.pl" >"$work/expected_alarms"
  ! cat "$work/tap/tmp_check/log/${test}"_*.log 2>/dev/null | grep -E "$ALARMS" | grep -vF -f "$work/expected_alarms"
}

run_tap() {
  local file test good=0 bad=0
  PGXS_TEST=$(dirname "$("$PG_BIN/pg_config" --pgxs)")/../test
  cp -r test/tap/. "$work/tap/"
  own_work_folder
  for file in "$work"/tap/$1.pl; do
    [ -f "$file" ] || continue
    test=$(basename "$file" .pl)
    if stage "TAP $test" run_tap_file "$test.pl" && stage "TAP $test: its logs" unexpected_alarms "$test"; then
      good=$((good + 1))
    else
      bad=$((bad + 1))
    fi
  done
  count_or_complain "TAP" $good $bad
}

check_server_log() {
  ! grep -E "$ALARMS" "$work/server.log"
}

run_stage() {
  local name=$1
  [[ $name = *:* ]] || name="$name:*"
  "run_${name%%:*}" "${name#*:}"
}

background=

# run_in_background STAGE...: in a process group of its own, on half of the cores, as the others mostly wait; on all of them where
# cores may not be picked.
run_in_background() {
  [ $# -gt 0 ] || return 0
  echo "in the background, shown at the end: $*"
  rm -f "$LOGS/background.count"
  set -m
  (
    taskset -cp "0-$((($(nproc) + 1) / 2 - 1))" "$BASHPID" >/dev/null || true
    passed=0 failed=0
    for name in "$@"; do run_stage "$name"; done
    echo "$passed $failed" >"$LOGS/background.count"
  ) >"$LOGS/background.log" 2>&1 &
  set +m
  background=$!
}

join_background() {
  local good=0 bad=1
  [ -n "$background" ] || return 0
  wait "$background" && read -r good bad <"$LOGS/background.count" || echo "what ran in the background broke off"
  background=
  cat "$LOGS/background.log"
  count "$good" "$bad"
}

stop_background() {
  [ -n "$background" ] || return 0
  kill -- -"$background" 2>/dev/null || true
  wait "$background" 2>/dev/null || true
}

if [ "${1:-}" = --torch ]; then
  [ "${2:-}" = pip ] || fail "--torch takes pip"
  stage "PyTorch" scripts/pytorch.sh
  export WITH_TORCH=$PWD/.deps/pytorch/torch
  shift 2
fi
stages=("$@")
all_stages=
[ ${#stages[@]} -gt 0 ] || all_stages=yes stages=(unit fuzz sanitize cuda regress pgtap libtorch devices tap readme)
for name in "${stages[@]}"; do
  [[ $name =~ ^(unit|sanitize|fuzz|regress|pgtap(:.+)?|libtorch|devices|cuda|tap(:.+)?|readme)$ ]] ||
    fail "unknown stage $name; there are unit, sanitize, fuzz, regress, pgtap, libtorch, devices, cuda, tap and readme"
done

scripts/setup.sh
export IMAGECALC_DATA=${IMAGECALC_DATA:-$(realpath -m ../shared/data)}
[ -d "$IMAGECALC_DATA" ] || echo "no photographs in $IMAGECALC_DATA: the tests run on drawn pictures"

make_work_folder
trap 'stop_background; restore_runner; remove_host_device; clean_up' EXIT
alone=() with_server=() behind=()
for name in "${stages[@]}"; do
  case $name in
    unit | fuzz) alone+=("$name") ;;
    sanitize | cuda) behind+=("$name") ;;
    *) with_server+=("$name") ;;
  esac
done
[ ${#with_server[@]} -gt 0 ] || alone+=("${behind[@]}") behind=()
for name in "${alone[@]}"; do run_stage "$name"; done
run_in_background "${behind[@]}"
if [ ${#with_server[@]} -gt 0 ]; then
  stage "pictures" prepare_pictures
  stage "models" prepare_models
  own_work_folder
  stage "start a private server" start_server
  for name in "${with_server[@]}"; do run_stage "$name"; done
fi
join_background
if [ -f "$work/server.log" ]; then stage "the server's log" check_server_log || count 0 1; fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
