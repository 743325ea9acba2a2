#!/bin/sh
# whisper-server.sh avx2|native: print the path of whisper.cpp's own server, built once from the
# source distribution of the pywhispercpp in constraints.txt, so that both hold the same whisper.cpp.
#
#   avx2     with the processor features of pywhispercpp's wheels for x86-64, and no others
#   native   for this machine's own processor, as tools/native.sh builds pywhispercpp
#
# PYTHON names the Python whose pip fetches the source (.venv's when it is not set). Everything lies
# in build/whisper-server/, which may be deleted.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
kind=${1:-}
case $kind in
avx2)
    if [ "$(uname -m)" != x86_64 ]; then
        echo "avx2 is for x86-64, and this is $(uname -m): use native" >&2
        exit 1
    fi
    # The wheel's features, as its whisper_print_system_info() lists them.
    flags="-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON"
    flags="$flags -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX_VNNI=OFF -DGGML_AVX512=OFF"
    flags="$flags -DGGML_LLAMAFILE=OFF"
    processor=any
    ;;
native)
    flags="-DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON"
    # Another processor may lack what this one has: the program is built again there.
    processor=$(grep -m 1 '^flags' /proc/cpuinfo 2>/dev/null || uname -mp)
    ;;
*)
    echo "usage: tools/whisper-server.sh avx2|native" >&2
    exit 2
    ;;
esac
flags="$flags -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF"

requirement=$(grep '^pywhispercpp==' "$root/constraints.txt")
cache=$root/build/whisper-server
binary=$cache/$kind/whisper-server
made_of=$(printf '%s\n' "$requirement" "$flags" "$processor")
if [ -x "$binary" ] && [ "$(cat "$binary.made-of" 2>/dev/null)" = "$made_of" ]; then
    echo "$binary"
    exit 0
fi

"$root/tools/compilers.sh"
python=${PYTHON:-$root/.venv/bin/python}
if ! command -v "$python" >/dev/null; then
    echo "There is no $python: 'make demo' makes it, or PYTHON names another" >&2
    exit 1
fi
mkdir -p "$cache/$kind"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# cmake and ninja of their own: those of the system may be too old, or not there.
build() {
    "$python" -m venv "$work/venv" &&
        pip install cmake ninja &&
        pip download --no-deps --no-binary pywhispercpp --dest "$work" "$requirement" &&
        mkdir "$work/source" &&
        tar -xzf "$work"/pywhispercpp-*.tar.gz -C "$work/source" --strip-components=1 &&
        PATH=$work/venv/bin:$PATH &&
        # shellcheck disable=SC2086  # one word per flag
        cmake -G Ninja -S "$work/source/whisper.cpp" -B "$work/made" $flags &&
        cmake --build "$work/made" --target whisper-server
}
echo "Building whisper-server ($kind) from the source distribution of $requirement" >&2
if ! build >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    echo "whisper-server could not be built; above is how that ended" >&2
    exit 1
fi
rm -f "$binary.made-of"
mv "$work/made/bin/whisper-server" "$binary"
echo "$made_of" >"$binary.made-of"
echo "$binary"
