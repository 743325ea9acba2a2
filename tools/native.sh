#!/bin/sh
# native.sh [ENVIRONMENT]: put a pywhispercpp built for this machine's own processor into a Python
# environment (.venv when none is named), in the place of the wheel; same version, same whisper.cpp.
#
# Every variable of the environment is an option of the build: GGML_CUDA=ON, GGML_VULKAN=ON, or
# GGML_BLAS=ON GGML_BLAS_VENDOR=OpenBLAS add a device (docs/engines.md).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
environment=${1:-$root/.venv}
python=$environment/bin/python
if [ ! -x "$python" ]; then
    echo "There is no $python: 'make demo' makes .venv" >&2
    exit 1
fi
"$root/tools/compilers.sh"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
if [ ! -e "$header" ]; then
    echo "$header is missing. Debian and Ubuntu: apt-get install python3-dev; Fedora: python3-devel" >&2
    exit 1
fi
requirement=$(grep '^pywhispercpp==' "$root/constraints.txt")

# Multiplication in blocks (LLAMAFILE) is what makes it faster: with GGML_NATIVE alone a processor
# with AVX-512 was slower than with the wheel (docs/engines.md).
export GGML_NATIVE="${GGML_NATIVE:-ON}" GGML_LLAMAFILE="${GGML_LLAMAFILE:-ON}"
# The libraries lie beside the module: otherwise it looks for them where they were built.
export CMAKE_BUILD_WITH_INSTALL_RPATH=ON
case $(uname) in
Darwin) export CMAKE_INSTALL_RPATH=@loader_path ;;
*) export CMAKE_INSTALL_RPATH='$ORIGIN' ;;
esac

echo "Building $requirement from its source distribution into $environment: a minute or more"
# Not from the cache, nor into it: what is built here is of no use on another processor.
"$python" -m pip --quiet --disable-pip-version-check install --force-reinstall --no-deps \
    --no-cache-dir --no-binary pywhispercpp "$requirement"
"$python" -c 'import _pywhispercpp; print("Built for", _pywhispercpp.whisper_print_system_info())'
echo "Back to the wheel: $python -m pip install --force-reinstall --no-deps $requirement"
