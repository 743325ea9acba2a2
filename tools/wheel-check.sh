#!/bin/sh
# Build the wheel from its source distribution, install it in a fresh environment away from the
# checkout, and recognise the bundled samples with it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/.venv/bin/python" -m build --outdir "$work/dist" "$root" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }
"$root/.venv/bin/python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$root/constraints.txt" "$work"/dist/*.whl
cd "$work"
"$work/venv/bin/whisper-router" --version
"$work/venv/bin/whisper-router" demo
