#!/bin/bash
# Measures a design's predictions: trains formats that the design did not, and compares.
#
#   bench/design.sh [--data NAME] [--designs N] [--formats N] [--seeds N] [--space N] [--space-seeds N] [--epochs N]
#                   [--state DIR] [--out FILE]
#
# --data:    weather or blood_cells, a folder of $IMAGECALC_DATA, default ../shared/data (default blood_cells).
# --designs: that differ in their seeds (default 3).
# --formats: that no design trained, to be trained here (default 24).
# --seeds:   trainings of each, whose mean is the truth, 2 or more (default 2).
# --space:   how many of the smallest formats as many further designs choose from, all of which are trained here (default 30).
# --space-seeds: trainings of each of them, 2 or more (default 3).
# --epochs:  of a training from the file's weights (default 12, the demo's).
# --state:   keeps what was found there, so that a run that was broken off goes on (default build/bench-design-NAME).
# --out:     writes the report there, too, as Markdown.
#
# The network is the demo's small one, tensors are up to 64x64, of pictures scaled to 128x128. About an hour of two cores for
# each data set.
set -euo pipefail
data=blood_cells designs=3 formats=24 seeds=2 space=30 space_seeds=3 epochs=12 state= out=
while [ $# -gt 0 ]; do
  case $1 in
    --data) data=${2:?--data needs a name}; shift 2 ;;
    --designs) designs=${2:?--designs needs a number}; shift 2 ;;
    --formats) formats=${2:?--formats needs a number}; shift 2 ;;
    --seeds) seeds=${2:?--seeds needs a number}; shift 2 ;;
    --space) space=${2:?--space needs a number}; shift 2 ;;
    --space-seeds) space_seeds=${2:?--space-seeds needs a number}; shift 2 ;;
    --epochs) epochs=${2:?--epochs needs a number}; shift 2 ;;
    --state) state=$(realpath -m "${2:?--state needs a folder}"); shift 2 ;;
    --out) out=$(realpath -m "${2:?--out needs a file}"); shift 2 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
source scripts/lib.sh
pictures=$(realpath -m "${IMAGECALC_DATA:-../shared/data}/$data")
[ -f "$pictures/labels.csv" ] || { echo "there are no pictures in $pictures" >&2; exit 1; }
state=${state:-$PWD/build/bench-design-$data}

build_trainer() {
  cmake -S . -B build/bench -DIMAGECALC_BENCH=ON -DIMAGECALC_RUNNER=ON -DIMAGECALC_TESTS=OFF &&
    cmake --build build/bench -j "$(nproc)" --target imagecalc-bench-train
}

collect_pictures() {
  cp "$pictures"/*.jp*g "$pictures/labels.csv" "$work/pictures/"
}

scripts/setup.sh
stage "build the trainer" build_trainer
make_work_folder
stage "collect pictures" collect_pictures
stage "export the network" export_net small-cnn-script "$work/models/model.pt"
own_work_folder
stage "start a private server" start_server
stage "load the pictures" load_pictures
mkdir -p "$state"
/usr/bin/python3 bench/design.py --trainer build/bench/bench/imagecalc-bench-train --model "$work/models/model.pt" \
  --pictures "$work/pictures" --data "$data" --designs "$designs" --formats "$formats" --seeds "$seeds" --space "$space" \
  --space-seeds "$space_seeds" --epochs "$epochs" --state "$state" ${out:+--out "$out"}
