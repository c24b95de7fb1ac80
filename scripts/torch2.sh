#!/bin/bash
# Exports the test networks with a current PyTorch and runs the tests of the engines over them. It is no part of
# scripts/test.sh: PyPI's PyTorch, with the CUDA libraries that it wants, is a download of gigabytes, which stays in
# .deps/torch2.
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

install_torch
export_models
cmake -S . -B build -DIMAGECALC_TESTS=ON
cmake --build build --target imagecalc_runner_tests -j "$(nproc)"
IMAGECALC_MORE_MODELS=$MODELS build/test/runner/imagecalc_runner_tests --gtest_filter='MoreModels.*'
