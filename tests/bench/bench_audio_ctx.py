"""What a smaller encoder costs in words, and saves in time, on windows as live sessions have them.

Usage: bench_audio_ctx.py [--windows N] [--margins N,N,...]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.phrases import phrases
from support.speech import DEMO_MODEL, floats, samples
from support.word_errors import word_errors
from whisper_router.domain import Chunk, DecodingOptions, Lane, TranscriptionRequest
from whisper_router_engines.whispercpp.audio_context import MARGIN
from whisper_router_engines.whispercpp.inference import Model, Setup
from whisper_router_engines.whispercpp.options import WhisperCppOptions
from whisper_router_engines.whispercpp.protocol import order_json, parse_order

LENGTHS_S = (1, 2, 4, 8, 15)
PREFIX_S, SETTLE_S = 0.3, 0.3
"""An utterance begins so long before its speech, and its last window ends so long after it."""
RATE_HZ = 16_000
MOST_ERRORS = 0.02
Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some audio, its language, and what is said in it where that is known exactly."""

    audio: Audio
    language: str
    truth: str | None = None


@dataclass(slots=True)
class Tally:
    """What one margin did to windows of one length."""

    took_ms: list[float] = field(default_factory=list)
    detecting_ms: list[float] = field(default_factory=list)
    full_errors: int = 0
    full_words: int = 0
    truth_errors: int = 0
    truth_words: int = 0
    wrong_languages: int = 0


def main() -> int:
    """Print a row for each length and margin; 1 when our own margin costs too many words."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=20, help="of each length and kind, at most")
    parser.add_argument("--margins", default="0,64,128,256")
    arguments = parser.parse_args()
    margins: list[int | None] = [None, *map(int, arguments.margins.split(","))]
    errors = words = 0
    print(
        f"{'window':>7} {'margin':>7} {'p50 ms':>8} {'+lang ms':>9} {'windows':>8} "
        f"{'not as full':>15} {'not as said':>15} {'wrong lang':>11}"
    )
    with (
        tempfile.TemporaryDirectory() as name,
        closing(Model(DEMO_MODEL, setup(None))) as full,
        closing(Model(DEMO_MODEL, setup(0))) as fitted,
    ):
        folder = Path(name)
        for length_s in LENGTHS_S:
            windows = [
                *islice(cut_windows(length_s), arguments.windows),
                *islice(whole_windows(folder, length_s), arguments.windows),
            ]
            for margin, tally in measured((full, fitted), folder, windows, margins).items():
                print(row(length_s, margin, tally, len(windows)), flush=True)
                if margin == MARGIN:
                    errors, words = errors + tally.full_errors, words + tally.full_words
    print(f"margin {MARGIN}: {errors} of {words} words are not as full (limit {MOST_ERRORS:.0%})")
    return 1 if errors > MOST_ERRORS * words else 0


def setup(margin: int | None) -> Setup:
    """Return the engine's own settings, on one thread: others' load tells least there."""
    options = WhisperCppOptions()
    decoding = {name: getattr(options, name) for name in DecodingOptions.__dataclass_fields__}
    return Setup(
        threads=1,
        gpu_index=None,
        flash_attn=options.flash_attn,
        dtw=options.dtw,
        audio_ctx=0,
        live_margin=margin,
        max_context_tokens=options.max_context_tokens,
        decoding=DecodingOptions(**decoding),
    )


def cut_windows(length_s: float) -> Iterator[Window]:
    """Yield windows of the bundled samples: each begins with a segment and ends where it must."""
    for sample in samples():
        audio = floats(sample.path)
        for start_s, _, _ in sample.segments:
            begin = max(0, int((start_s - PREFIX_S) * RATE_HZ))
            piece = audio[begin : begin + int(length_s * RATE_HZ)]
            if len(piece) > 0.75 * length_s * RATE_HZ:
                yield Window(audio=piece, language=sample.language)


def whole_windows(folder: Path, length_s: float) -> Iterator[Window]:
    """Yield whole utterances of at most that length, and more than half of it."""
    most = int((length_s - SETTLE_S) * RATE_HZ)
    silence = np.zeros(int(SETTLE_S * RATE_HZ), np.float32)
    words = range(max(1, int(1.3 * length_s)), int(2.2 * length_s) + 1)
    for phrase in phrases(folder, seed=int(length_s), words=words):
        if most / 2 < len(phrase.audio) <= most:
            audio = np.concatenate([phrase.audio, silence])
            yield Window(audio=audio, language="en", truth=phrase.text)


def measured(
    models: tuple[Model, Model],
    folder: Path,
    windows: Sequence[Window],
    margins: Sequence[int | None],
) -> dict[int | None, Tally]:
    """Let every margin hear every window, one after the other, so that other load falls on all."""
    tallies = {margin: Tally() for margin in margins}
    for window in windows:
        full: list[str] = []
        for margin in margins:
            tally = tallies[margin]
            model = models[margin is not None]  # the one that was loaded for a fitted encoder
            model.setup = replace(model.setup, live_margin=margin)
            _, words, took_ms = heard(model, folder, window, window.language)
            language, _, detecting_ms = heard(model, folder, window, None)
            full = words if margin is None else full
            tally.took_ms.append(took_ms)
            tally.detecting_ms.append(detecting_ms)
            tally.wrong_languages += language != window.language
            tally.full_errors += word_errors(full, words)
            tally.full_words += len(full)
            if window.truth is not None:
                said = window.truth.split()
                tally.truth_errors += word_errors(said, words)
                tally.truth_words += len(said)
    return tallies


def heard(
    model: Model, folder: Path, window: Window, language: str | None
) -> tuple[str, list[str], float]:
    """Return the language, the words, and how long that took."""
    path = folder / "window.f32"
    window.audio.astype("<f4").tofile(path)
    chunk = Chunk(path=path, start=0, end=len(window.audio))
    request = TranscriptionRequest(
        model="demo", language=language, lane=Lane.LIVE, word_timestamps=True
    )
    events: list[dict] = []
    began_s = time.perf_counter()
    model.run(parse_order(order_json(chunk, request)), events.append, [])
    took_ms = 1000 * (time.perf_counter() - began_s)
    text = "".join(event["text"] for event in events if event["event"] == "segment")
    return events[0]["code"], text.split(), took_ms


def row(length_s: float, margin: int | None, tally: Tally, windows: int) -> str:
    """Return one line of the table."""
    name = "full" if margin is None else str(margin)
    truth = f"{tally.truth_errors} of {tally.truth_words}"
    return (
        f"{length_s:5} s {name:>7} {statistics.median(tally.took_ms):8.0f} "
        f"{statistics.median(tally.detecting_ms):9.0f} {windows:8} "
        f"{f'{tally.full_errors} of {tally.full_words}':>15} {truth:>15} "
        f"{tally.wrong_languages:11}"
    )


if __name__ == "__main__":
    sys.exit(main())
