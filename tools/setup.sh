#!/bin/sh
# setup.sh runtime|dev: make .venv hold what the project needs, at the versions in constraints.txt.
set -eu
cd "$(dirname "$0")/.."
kind=$1

for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$candidate
        break
    fi
done
: "${python:?Python 3.11 or newer is needed (set PYTHON=/path/to/python3)}"

if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import ensurepip' 2>/dev/null || tools/apt-packages.sh python3-venv
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv .venv
fi
echo "Installing the Python packages of constraints.txt ($kind)"
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install --upgrade --constraint constraints.txt pip
if [ "$kind" = dev ]; then
    pip install --constraint constraints.txt --editable . --group dev
    touch .venv/.dev
else
    pip install --constraint constraints.txt --editable .
fi
touch .venv/.runtime
