#!/bin/bash
# Puts OpenVINO's C++ headers and libraries for inference on the CPU into .deps/openvino, out of PyPI's wheel: Debian has no
# package of it. imagecalc-runner works without, slower. A second run does nothing and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=2026.4.1
KEPT="$VERSION with ONNX"  # changes when more of the wheel is kept
TARGET=.deps/openvino

# Another Python, or a newer one, takes the same wheels: only what is C++ in them is used.
HASHES=(
  sha256:2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf  # x86_64
  sha256:bea1eb3733c34ef331adc945da0ccda5937865031139073663be84c517ffda22  # aarch64
)

download() {
  echo "openvino==$VERSION${HASHES[*]/#/ --hash=}" >"$1.txt"
  /usr/bin/python3 -m pip download --quiet --retries 2 --no-deps --only-binary=:all: --python-version 3.11 \
    --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_35_$(uname -m)" --require-hashes --dest "$1" -r "$1.txt"
}

# The core library, the readers of TorchScript and ONNX, the engine for CPUs, and the thread library that they were built with.
unpack() {
  /usr/bin/python3 - "$1"/openvino-*.whl "$2" <<'END'
import pathlib, re, sys, zipfile

KEPT = (
    (r"openvino/(include/openvino/.+)", r"\1"),
    (r"openvino/libs/(libopenvino\.so\.\d+|libopenvino_(?:pytorch|onnx)_frontend\.so\.\d+)", r"lib/\1"),
    (r"openvino/libs/(libopenvino_\w+_cpu_plugin\.so|lib(tbb|tbbmalloc|tbbbind_2_5|hwloc)\.so\.\d+)", r"lib/\1"),
    (r"openvino-[^/]+/licenses/(?:.+/)?([^/]+)", r"lib/\1"),  # what the libraries are copied with
)
wheel, target = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for name in wheel.namelist():
    if ".." in pathlib.PurePosixPath(name).parts:
        sys.exit(f"a name in the wheel leads out of it: {name}")
    for pattern, place in KEPT:
        match = re.fullmatch(pattern, name)
        if match:
            file = target / match.expand(place)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wheel.read(name))
END
}

[ "$(cat "$TARGET/version" 2>/dev/null)" = "$KEPT" ] && exit 0
mkdir -p .deps
new=$(mktemp -d .deps/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
download "$new/wheel"
unpack "$new/wheel" "$new/openvino"
echo "$KEPT" >"$new/openvino/version"
rm -rf "$TARGET"  # an older one
mv "$new/openvino" "$TARGET"
