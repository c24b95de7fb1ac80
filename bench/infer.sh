#!/bin/bash
# Measures inference: SQL over icimage and over JPEG, the engine's bare loop, and Python, in one run on a private server.
#
#   bench/infer.sh [--quick | --full] [--seconds N] [--nets NET,...] [--threads N] [--engine NAME] [--out FILE]
#
# --seconds: of work for each cell of the table, shared by its three repeats (default 20: 40 to 45 minutes).
# --quick:   one net and 3 seconds a cell: a smoke run of two to five minutes whose figures mean little.
# --full:    all batch sizes for all inputs, and 60 seconds a cell: hours.
# --nets:    of mobilenet_v3_small, shufflenet_v2_x1_0, efficientnet_b3, resnet50 (default all).
# --threads: of the engine, the same on all sides (default 1: on two cores the other one decodes).
# --engine:  auto, libtorch or openvino: of SQL and of the bare loop (default auto, the faster one).
# --out:     writes the tables there, too, as Markdown.
#
# The pictures are those in $IMAGECALC_DATA/weather (default ../shared/data), else drawn ones. ONNX Runtime and simplejpeg come
# from PyPI into .deps; without them their line is missing. Leave the machine alone while it runs.
set -euo pipefail
seconds=20 threads=1 engine=auto out= mode=
nets=mobilenet_v3_small,shufflenet_v2_x1_0,efficientnet_b3,resnet50
while [ $# -gt 0 ]; do
  case $1 in
    --quick) mode=$1 seconds=3 nets=mobilenet_v3_small; shift ;;
    --full) mode=$1 seconds=60; shift ;;
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    --nets) nets=${2:?--nets needs names}; shift 2 ;;
    --threads) threads=${2:?--threads needs a number}; shift 2 ;;
    --engine) engine=${2:?--engine needs a name}; shift 2 ;;
    --out) out=$(realpath -m "${2:?--out needs a file}"); shift 2 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
source scripts/lib.sh
IMAGECALC_DATA=${IMAGECALC_DATA:-$(realpath -m ../shared/data)}
python=.deps/bench-python

build_loop() {
  cmake -S . -B build/bench -DIMAGECALC_BENCH=ON -DIMAGECALC_RUNNER=ON -DIMAGECALC_TESTS=OFF &&
    cmake --build build/bench -j "$(nproc)" --target imagecalc-bench-loop
}

install_onnxruntime() {
  [ ! -f "$python/complete" ] || return 0
  rm -rf "$python"
  /usr/bin/python3 -m venv --system-site-packages "$python" &&
    "$python/bin/pip" install --quiet --retries 2 onnxruntime==1.32.0 simplejpeg==1.9.0 &&
    touch "$python/complete"
}

# Calibrated, or the engine could not tell right plans from wrong ones.
export_bench_net() {
  local kept form
  for form in script onnx; do
    kept=build/models/$1-calibrated-$classes.${form/script/pt}
    mkdir -p build/models
    if [ ! "$kept" -nt scripts/export_model.py ]; then
      /usr/bin/python3 scripts/export_model.py "$kept" --classes "$classes" --net "$1" --as "$form" --calibrate || return
    fi
    cp "$kept" "$work/models/$1.${form/script/pt}"
  done
}

scripts/setup.sh
stage "build the bare loop" build_loop
onnx=(--onnx-python "$python/bin/python")
stage "ONNX Runtime" install_onnxruntime || { onnx=(); echo "going on without ONNX Runtime: its line will be missing"; }
make_work_folder
stage "collect pictures" prepare_pictures
classes=$(count_classes)
for net in ${nets//,/ }; do stage "export $net" export_bench_net "$net"; done
own_work_folder
stage "start a private server" start_server
stage "load the pictures" load_pictures
/usr/bin/python3 bench/infer.py --loop build/bench/bench/imagecalc-bench-loop --models "$work/models" \
  --pictures "$work/pictures" --classes "$classes" "${onnx[@]}" --nets ${nets//,/ } --seconds "$seconds" \
  --threads "$threads" --engine "$engine" $mode ${out:+--out "$out"}
