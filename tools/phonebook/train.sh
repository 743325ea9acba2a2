#!/bin/sh
# Train the bundled model again, in an environment of its own: PyTorch is not for the project's.
set -eu
cd "$(dirname "$0")/../.."
venv=build/phonebook/venv
if [ ! -x "$venv/bin/python" ]; then
    .venv/bin/python -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch numpy scipy soundfile safetensors tiktoken more-itertools tqdm numba
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps openai-whisper
"$venv/bin/python" tools/phonebook/train_phonebook.py --out build/phonebook
"$venv/bin/python" tools/phonebook/quantize.py build/phonebook/ggml-phonebook.bin \
    build/phonebook/ggml-phonebook-q5_1.bin q5_1
echo "build/phonebook/ggml-phonebook-q5_1.bin is done; tools/phonebook/README.md says how to judge it."
