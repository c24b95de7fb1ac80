#!/bin/bash
# Measures what crosses to a GPU and what becomes of it there, for icimage beside JPEG, without Postgres.
#
#   bench/gpu.sh [--torch DIR] [--out FILE] [-- ARGUMENT...]
#   bench/gpu.sh --bundle
#
# --torch:  the package `torch` of PyTorch's wheel (default .deps/pytorch/torch, which scripts/pytorch.sh --cuda fills, else
#           python3's).
# --out:    writes the tables there, too, as Markdown.
# ARGUMENT: of imagecalc-bench-gpu, as --batch 32 or --seconds 10.
# --bundle: measures nothing, but puts into build/gpu-bundle what else that takes: networks, photographs, and Debian's
#           libraries with their headers. Beside this repository that folder is all that a machine needs that has a GPU, CUDA 13,
#           PyTorch's wheel, g++ 12 or later and CMake, but neither network nor packages.
#
# nvcc is CUDA_HOME's, else that in /usr/local/cuda. The networks have random weights: torchvision's, each weight one of two values,
# so that a bundle is small.
set -euo pipefail
torch= out= bundle_only= arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --torch) torch=$(realpath "${2:?--torch needs a folder}"); shift 2 ;;
    --out) out=$(realpath -m "${2:?--out needs a file}"); shift 2 ;;
    --bundle) bundle_only=yes; shift ;;
    --) shift; arguments=("$@"); break ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
source scripts/lib.sh
IMAGECALC_DATA=${IMAGECALC_DATA:-$(realpath -m ../shared/data)}
bundle=$PWD/build/gpu-bundle
packages=(libeigen3-dev libhwy-dev libhwy1 libjpeg62-turbo-dev libjpeg62-turbo libspng-dev libspng0 libssl-dev libssl3 libwebp-dev
  libwebp7 libwebpdemux2 libzstd-dev libzstd1 zlib1g-dev zlib1g pkgconf pkgconf-bin libpkgconf3)
pictures=64

export_networks() {
  mkdir -p "$bundle/models"
  local net
  for net in efficientnet_b3 mobilenet_v3_small resnet50; do
    [ ! -f "$bundle/models/$net.pt.gz" ] || continue
    /usr/bin/python3 scripts/export_model.py "$bundle/models/$net.pt" --classes 1000 --net "$net" --two-valued --calibrate &&
      gzip -9 "$bundle/models/$net.pt" || return
  done
}

copy_pictures() {
  work=$bundle
  mkdir -p "$bundle/pictures"
  prepare_pictures || return
  find "$bundle/pictures" -name '*.jp*g' | sort | tail -n +$((pictures + 1)) | xargs -r rm
  ls "$bundle"/pictures/*.jp*g
}

# Headers, shared libraries and what finds them; of pkgconf the program.
copy_libraries() {
  local package
  dpkg -s "${packages[@]}" >/dev/null || return
  for package in "${packages[@]}"; do
    dpkg -L "$package" | grep -E '^/usr/(include|bin)/|\.so[.0-9]*$|\.pc$|^/(usr/)?share/eigen3/|/eigen3/cmake/|^/lib/.*\.so' |
      while read -r path; do [ -d "$path" ] || echo "$path"; done
  done | sort -u | tar -C / --dereference -cf - -T - | tar -C "$bundle" --transform 's,^,libraries/,' -xf - || return
  test -f "$bundle/libraries/usr/include/spng.h"
}

unpack_networks() {
  mkdir -p build/gpu-models
  local packed
  for packed in "$bundle"/models/*.pt.gz; do gunzip -c "$packed" >"build/gpu-models/$(basename "${packed%.gz}")" || return; done
}

# The bundle's libraries serve where Debian's are not installed.
use_bundled_libraries() {
  ! pkg-config --exists eigen3 libcrypto libzstd libjpeg libhwy spng libwebp libwebpdemux zlib 2>/dev/null || return 0
  local root=$bundle/libraries place
  place=$root/usr/lib/x86_64-linux-gnu
  export LD_LIBRARY_PATH=$place:$root/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PKG_CONFIG=$root/usr/bin/pkgconf PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$place/pkgconfig:$root/usr/share/pkgconfig
  export CMAKE_PREFIX_PATH=$root/usr CMAKE_LIBRARY_PATH=$place CMAKE_INCLUDE_PATH=$root/usr/include
  export CPATH=$root/usr/include/x86_64-linux-gnu${CPATH:+:$CPATH}
}

build() {
  local architectures=()
  ! command -v nvidia-smi >/dev/null || architectures=(-DCMAKE_CUDA_ARCHITECTURES=native)
  cmake -S . -B build/bench-gpu -DIMAGECALC_BENCH=ON -DIMAGECALC_TESTS=OFF -DIMAGECALC_OPENVINO=OFF -DIMAGECALC_CUDA=ON \
    -DIMAGECALC_TORCH_ROOT="$torch" "${architectures[@]}" &&
    cmake --build build/bench-gpu -j "$(nproc)" --target imagecalc-bench-gpu imagecalc-cuda
}

if [ -n "$bundle_only" ] || [ ! -f "$bundle/complete" ]; then
  stage "networks" export_networks
  stage "pictures" copy_pictures
fi
if [ -n "$bundle_only" ]; then
  stage "libraries" copy_libraries
  touch "$bundle/complete"
  du -sh "$bundle"
  exit
fi
if [ -z "$torch" ]; then
  torch=$PWD/.deps/pytorch/torch
  [ -d "$torch" ] || torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))') ||
    fail "there is no PyTorch: run scripts/pytorch.sh --cuda, or name one with --torch"
fi
use_bundled_libraries
stage "unpack networks" unpack_networks
stage "build with CUDA" build
build/bench-gpu/bench/imagecalc-bench-gpu build/gpu-models "$bundle/pictures" \
  --device-plugin build/bench-gpu/src/runner/imagecalc-cuda.so "${arguments[@]}" | tee ${out:+"$out"}
