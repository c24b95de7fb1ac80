#!/bin/bash
# Puts the C++ headers and libraries of a current PyTorch into .deps/pytorch, out of PyPI's wheels: to build imagecalc-runner with
# (make WITH_TORCH=.deps/pytorch/torch) instead of Debian's LibTorch. A second run does nothing and needs no network.
#
#   scripts/pytorch.sh [--cuda] [--nvcc]
#
# The wheel is the CUDA build; on a CPU its libraries suffice, with two of CUDA's (1.3 GB). --cuda: what they need of CUDA to run
# on a GPU, and nvJPEG for bench/gpu.sh, too. --nvcc: CUDA's compiler, of the same version.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=2.15.0
TARGET=.deps/pytorch
TORCH=(
  "torch==$VERSION --hash=sha256:6d8c86f4e33a9f12a58149bd9b0d64351632b8eb44479be8ff85e5389932dd79"
  "nvidia-cuda-cupti==13.2.86 --hash=sha256:8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586"
  "nvidia-cuda-runtime==13.2.86 --hash=sha256:3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0"
)
CUDA=(
  "nvidia-cublas==13.4.1.3 --hash=sha256:a5917cb642cfb07f4a0231ee16aec7e2e0357d8cb8b1b78a0c9c68dba3e6afc7"
  "nvidia-cuda-nvrtc==13.2.86 --hash=sha256:8111c5130e967b78222ea2124145f8efe9ce201b752b2579a2513100a53be1c5"
  "nvidia-cudnn-cu13==9.26.0.51 --hash=sha256:9c976d539786698c71d6bcdbe2053b7485fae062ff7e1215d2f2ff67b1a2149a"
  "nvidia-cufft==12.2.0.57 --hash=sha256:34da27fadf3979b0b042c43823f0530be8408b86df31ee0108e1ca0b621d4ef6"
  "nvidia-cufile==1.17.1.22 --hash=sha256:87feaf8c3ad20d3d03a01933181801ff6892bace5c8f0b1e4b48f319d3e62d36"
  "nvidia-cusolver==12.2.0.11 --hash=sha256:fab5778f6769947389a1a6abc07e635576825a08c0ffc68c3ae7f1392c794b42"
  "nvidia-cusparse==12.7.10.12 --hash=sha256:25907c75e4db1581685f06f61cc6cdecc04611765516a52373e0a18ebd69fa00"
  "nvidia-cusparselt-cu13==0.8.1 --hash=sha256:786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0"
  "nvidia-nccl-cu13==2.32.3 --hash=sha256:1459723080ac889d73a26edfa3e04383a7928ab31ac8f0ec43b3ea9548b04ff3"
  "nvidia-nvjpeg==13.3.2.43 --hash=sha256:27f9c4a25a73f1d1ad35c342c8d657c8ff43e23877f338ef15fb2602ac2e5aa8"
  "nvidia-nvjitlink==13.2.86 --hash=sha256:285a9cead9924391588d794400bdd7e8f9d1a277a7d78ed79acfa0ea702a14dd"
  "nvidia-nvshmem-cu13==3.7.2 --hash=sha256:b9a4f843c62b5dded8ad33fd6d220e007dcd39f06cee549292f5ba14ce4c235c"
  "nvidia-nvtx==13.2.86 --hash=sha256:968ce72baee2a01791c7d3254000eac81f24677b0b91c62d21b449a1f309c245"
)
NVCC=(
  "nvidia-cuda-nvcc==13.2.86 --hash=sha256:7d3f56c8d705bad35bbba69eb0470d90856fd5d4dc48c6a6173aaf1e9f887cf5"
  "nvidia-cuda-crt==13.2.86 --hash=sha256:e3ab08801bf9b1e6dc979275d25e816bb5000521b648e19c324d5eef0c79f1da"
  "nvidia-cuda-cccl==13.2.86 --hash=sha256:35da671cf0cecd3539da214a11bb8e7634366c9e950da9c5feecf6c490a65b20"
  "nvidia-nvvm==13.2.86 --hash=sha256:a9244f3209922d655612c11ebb4117ea1f80983cb2b215c9cccded127282cebc"
)

# install STAMP REQUIREMENT...: unpacks wheels into the folder that all share, once.
install() {
  local stamp=$TARGET/$1
  shift
  [ "$(cat "$stamp" 2>/dev/null)" != "$VERSION" ] || return 0
  new=$(mktemp -d .deps/new.XXXXXX)
  printf '%s\n' "$@" >"$new/requirements.txt"
  /usr/bin/python3 -m pip download --quiet --retries 2 --no-deps --only-binary=:all: --python-version 3.12 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64 \
    --require-hashes --dest "$new/wheels" -r "$new/requirements.txt"
  mkdir -p "$TARGET"
  for wheel in "$new"/wheels/*.whl; do
    /usr/bin/python3 -m zipfile -e "$wheel" "$TARGET"
    rm "$wheel"
  done
  chmod -f +x "$TARGET"/nvidia/cu13/{bin,nvvm/bin}/* || true  # unzipping forgets
  echo "$VERSION" >"$stamp"
  rm -rf "$new"
}

[ "$(uname -m)" = x86_64 ] || { echo "the wheels that this script knows are for x86_64" >&2; exit 1; }
mkdir -p .deps
new=
trap '[ -z "$new" ] || rm -rf "$new"' EXIT
[ "$(cat "$TARGET/version" 2>/dev/null)" = "$VERSION" ] || rm -rf "$TARGET"  # an older one, or half of one
install version "${TORCH[@]}"
for option in "$@"; do
  case $option in
    --cuda) install version.cuda "${CUDA[@]}" ;;
    --nvcc) install version.nvcc "${NVCC[@]}" ;;
    *) echo "unknown argument $option" >&2; exit 2 ;;
  esac
done
