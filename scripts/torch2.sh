#!/bin/bash
# Exports the test networks with a current PyTorch and runs the tests of the engines over them, with Debian's LibTorch and with
# that of the PyTorch that exported them. It is no part of scripts/test.sh: PyPI's PyTorch, with the CUDA libraries that it wants,
# is a download of gigabytes, which stays in .deps/torch2. Run scripts/setup.sh before.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=2.15.0
VISION=0.29.2
TARGET=.deps/torch2
MODELS=build/models/torch-$VERSION
CLASSES=50

install_torch() {
  [ "$(cat "$TARGET/version" 2>/dev/null)" = "$VERSION" ] && return
  rm -rf "$TARGET"
  /usr/bin/python3 -m pip install --quiet --retries 2 --only-binary=:all: --target "$TARGET" \
    torch==$VERSION torchvision==$VISION
  echo "$VERSION" >"$TARGET/version"
}

export_models() {
  local net form
  mkdir -p "$MODELS"
  for net in small-cnn efficientnet_b3 mobilenet_v3_small resnet50 shufflenet_v2_x1_0; do
    for form in script trace; do
      [ "$MODELS/$net-$form.pt" -nt scripts/export_model.py ] ||
        PYTHONPATH=$TARGET /usr/bin/python3 scripts/export_model.py "$MODELS/$net-$form.pt" --classes $CLASSES --net $net \
          --as $form --calibrate
    done
  done
}

# test_models FOLDER TORCH_ROOT: builds the tests in FOLDER.
test_models() {
  cmake -S . -B "$1" -DIMAGECALC_TESTS=ON -DIMAGECALC_TORCH_ROOT="$2"
  cmake --build "$1" --target imagecalc_runner_tests -j "$(nproc)"
  IMAGECALC_MORE_MODELS=$MODELS "$1/test/runner/imagecalc_runner_tests" --gtest_filter='MoreModels.*'
}

install_torch
export_models
test_models build ""
test_models build/torch2 "$PWD/$TARGET/torch"
