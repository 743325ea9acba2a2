#!/bin/sh
# setup.sh runtime|dev: make .venv hold what the project needs, at the versions in constraints.txt.
set -eu
cd "$(dirname "$0")/.."
kind=$1
recent='import sys; sys.exit(sys.version_info < (3, 11))'

python=
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c "$recent" 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed (PYTHON=/path/to/python3 names one)" >&2
    exit 1
fi

# What an interrupted run left may lack pip, or be of a Python that is gone by now.
if ! .venv/bin/python -c "import pip; $recent" 2>/dev/null; then
    "$python" -c 'import ensurepip' 2>/dev/null ||
        tools/apt-packages.sh "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
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
