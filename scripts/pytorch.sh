#!/bin/bash
# Puts the C++ headers and libraries of a current PyTorch into .deps/pytorch, out of PyPI's wheels: to build imagecalc-runner with
# (make WITH_TORCH=.deps/pytorch/torch) instead of Debian's LibTorch. 1.3 GB. The wheel is the CUDA build, of which these libraries
# suffice on a CPU. A second run does nothing and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=2.15.0
TARGET=.deps/pytorch
REQUIREMENTS=(
  "torch==$VERSION --hash=sha256:6d8c86f4e33a9f12a58149bd9b0d64351632b8eb44479be8ff85e5389932dd79"
  "nvidia-cuda-cupti==13.2.86 --hash=sha256:8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586"
  "nvidia-cuda-runtime==13.2.86 --hash=sha256:3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0"
)

[ "$(cat "$TARGET/version" 2>/dev/null)" = "$VERSION" ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "the wheels that this script knows are for x86_64" >&2; exit 1; }
mkdir -p .deps
new=$(mktemp -d .deps/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
printf '%s\n' "${REQUIREMENTS[@]}" >"$new/requirements.txt"
/usr/bin/python3 -m pip download --quiet --retries 2 --no-deps --only-binary=:all: --python-version 3.12 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 \
  --require-hashes --dest "$new/wheels" -r "$new/requirements.txt"
for wheel in "$new"/wheels/*.whl; do
  /usr/bin/python3 -m zipfile -e "$wheel" "$new/pytorch"
done
rm -rf "$new/wheels"
echo "$VERSION" >"$new/pytorch/version"
rm -rf "$TARGET"  # an older one
mv "$new/pytorch" "$TARGET"
