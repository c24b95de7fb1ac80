#!/bin/bash
# Installs what imagecalc needs, builds it and installs it into PostgreSQL 15. For Debian 12, as root or as a user with sudo.
# What is there already is left alone: a second run takes seconds and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

PACKAGES=(
  g++ make cmake pkg-config postgresql-15 postgresql-server-dev-15                                   # the extension
  libeigen3-dev libhwy-dev libjpeg62-turbo-dev libspng-dev libwebp-dev libzstd-dev
  libtorch-dev libopenblas0-pthread libssl-dev python3-pip                                           # imagecalc-runner
  python3-torch python3-torchvision python3-numpy python3-pil            # exporting models, drawing pictures
  libgtest-dev postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl libipc-run-perl chromium   # the tests
  clang libclang-rt-14-dev llvm                                          # the fuzz targets: libFuzzer, readable stack traces
)

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null |
    sed -n 's/ installed$//p' || true)
  printf '%s\n' "${PACKAGES[@]}" | grep -vxF "$installed" || true
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# The package would create a cluster of its own and start it; that is not ours to do, so it is told not to this once.
install_packages() {
  local once=/etc/postgresql-common/createcluster.d/imagecalc-setup.conf status=0
  as_root mkdir -p "${once%/*}"
  echo 'create_main_cluster = off' | as_root tee "$once" >/dev/null
  apt_install "$@" || { as_root apt-get update && apt_install "$@"; } || status=$?
  as_root rm -f "$once"
  return $status
}

build() {
  make -j"$(nproc)" PG_CONFIG="$PG_BIN/pg_config"
}

install_extension() {
  as_root make install PG_CONFIG="$PG_BIN/pg_config" ${WITH_TORCH:+WITH_TORCH="$WITH_TORCH"}  # sudo drops the environment
}

command -v dpkg-query >/dev/null || fail "this script is for Debian 12; elsewhere, install what it lists in PACKAGES"
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "run this as root, or install sudo"

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
  echo "missing packages: ${missing[*]}"
  stage "install packages" install_packages "${missing[@]}"
fi
stage "OpenVINO" scripts/openvino.sh || echo "going on without OpenVINO: models run on LibTorch, many of them slower"
[ -f build/libimagecalc_format.a ] || echo "the first build takes about 4 minutes on 2 cores"
stage "build" build
stage "install the extension" install_extension
