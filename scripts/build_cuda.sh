#!/bin/bash
# Builds imagecalc with CUDA, for every architecture that nvcc knows, and runs the unit tests; those that launch kernels are
# skipped, and say so, where there is no GPU. For Debian 12 on x86_64, after scripts/setup.sh; needs no CUDA, GPU or driver.
#
#   scripts/build_cuda.sh [--link-only] [--install]
#
# From PyPI into .deps/pytorch: PyTorch, which is a CUDA build, with the parts of CUDA that it runs on, and nvcc of the same version
# unless CUDA_HOME, or /usr/local/cuda, has one of CUDA 13.
# --link-only: only the runner, its plug-in and the tests of the kernels, and of CUDA what linking them takes.
# --install:   puts the runner and its plug-in into PostgreSQL 15 as well, until scripts/setup.sh puts the plain ones there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh
parts=(--cuda)
targets=(all)
install=
for option in "$@"; do
  case $option in
    --link-only) parts=() targets=(imagecalc-runner imagecalc-cuda imagecalc_gpu_tests) ;;
    --install) install=yes ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    *) fail "unknown argument $option" ;;
  esac
done

has_nvcc() {
  "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" --version 2>/dev/null | grep -q 'release 13\.'
}

has_nvcc || parts+=(--nvcc)
stage "PyTorch and CUDA" scripts/pytorch.sh "${parts[@]}"
has_nvcc || export CUDA_HOME=$PWD/.deps/pytorch/nvidia/cu13

build() {
  cmake -S . -B build/cuda -DIMAGECALC_CUDA=ON -DIMAGECALC_TORCH_ROOT="$PWD/.deps/pytorch/torch" -DIMAGECALC_TESTS=ON &&
    cmake --build build/cuda -j "$(nproc)" --target "${targets[@]}"
}

test_all() {
  ctest --test-dir build/cuda --output-on-failure --no-tests=error -j "$(nproc)"
}

install_all() {
  local how=(WITH_CUDA=1 WITH_TORCH=.deps/pytorch/torch PG_CONFIG="$PG_BIN/pg_config")
  make -j"$(nproc)" "${how[@]}" && as_root make install "${how[@]}"
}

stage "build with CUDA" build
if [ "${targets[0]}" = all ]; then
  stage "unit tests with CUDA" test_all
  grep -E 'tests passed|tests failed' "$LOGS/unit-tests-with-CUDA.log"
fi
stage "tests of the kernels" build/cuda/test/gpu/imagecalc_gpu_tests
grep -E 'there is no CUDA device|PASSED|SKIPPED' "$LOGS/tests-of-the-kernels.log" | sort -u
[ -z "$install" ] || stage "install" install_all
