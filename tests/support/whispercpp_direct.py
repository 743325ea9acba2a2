"""Transcribe 16 kHz mono 16-bit WAVs with plain pywhispercpp; print one JSON text per line.

usage: whispercpp_direct.py MODEL LANGUAGE=FILE...
"""

import json
import os
import sys
import wave

import numpy as np
from pywhispercpp.model import Model

model = Model(sys.argv[1], redirect_whispercpp_logs_to=None, print_progress=False, n_threads=1)
for argument in sys.argv[2:]:
    language, _, path = argument.partition("=")
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    segments = model.transcribe(samples / 32768, language=language)
    print(json.dumps([segment.text for segment in segments]))
sys.stdout.flush()
os._exit(0)
