#!/bin/bash
# Runs the main job from end to end on a private server: design a format for a model and a table of pictures, encode the
# pictures in it, classify in SQL, compare with JPEG.
#
#   scripts/demo.sh [--images DIR] [--model FILE] [--epochs N] [--shell]
#
# --images: a folder with labels.csv (file, label, split), or with a folder of JPEG files for each class. By default
#           ../shared/data/weather where it is there (IMAGECALC_DATA names another place), else pictures that are drawn.
# --model:  a scripted TorchScript module with as many outputs as there are classes. By default a small network.
# --epochs: of a training from the file's weights (default 12).
# --shell:  stop where the pictures are in the table images and the model is model.pt, and open psql; the server goes when it ends.
set -euo pipefail
images= model= epochs=12 shell=
usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  exit "$1"
}
while [ $# -gt 0 ]; do
  case $1 in
    --images) images=$(realpath "${2:?--images needs a folder}"); shift 2 ;;
    --model) model=$(realpath "${2:?--model needs a file}"); shift 2 ;;
    --epochs) epochs=${2:?--epochs needs a number}; shift 2 ;;
    --shell) shell=yes; shift ;;
    -h | --help) usage 0 ;;
    *) echo "unknown argument $1" >&2; usage 2 >&2 ;;
  esac
done
cd "$(dirname "$0")/.."
source scripts/lib.sh

# The default photographs are known to be learnt well in this time; others need not be.
least_accuracy=0
choose_pictures() {
  IMAGECALC_DATA=${IMAGECALC_DATA:-$(realpath -m ../shared/data)}
  if [ -n "$images" ]; then
    echo "pictures: $images"
  elif [ -f "$IMAGECALC_DATA/weather/labels.csv" ]; then
    images=$IMAGECALC_DATA/weather
    least_accuracy=0.8
    echo "pictures: photographs of the weather in $images"
  else
    echo "pictures: no photographs in $IMAGECALC_DATA, so drawn ones"
  fi
}

collect_pictures() {
  if [ -n "$images" ]; then
    /usr/bin/python3 scripts/label_pictures.py "$images" "$work/pictures"
  else
    /usr/bin/python3 scripts/draw_pictures.py "$work/pictures"
  fi
}

prepare_model() {
  if [ -n "$model" ]; then
    cp "$model" "$work/models/model.pt"
  else
    export_net small-cnn-script "$work/models/model.pt"
  fi
}

run_demo() {
  psql -X -q -v ON_ERROR_STOP=1 -v epochs="$epochs" -v least_accuracy="$least_accuracy" <scripts/demo.sql
}

open_shell() {
  echo "The pictures are in the table images (id, jpeg, label, split); the model is model.pt. \\q ends psql and the server."
  psql -X
}

begin=$SECONDS
scripts/setup.sh
choose_pictures
make_work_folder
stage "collect pictures" collect_pictures
stage "export the model" prepare_model
own_work_folder
stage "start a private server" start_server
stage "place the model" place_files "$work/models/model.pt"
stage "load the pictures" load_pictures
if [ -n "$shell" ]; then
  open_shell
  exit
fi
ready=$SECONDS
run_demo
echo "The demo took $((SECONDS - ready)) s after $((ready - begin)) s of set-up."
