"""Speech for tests: the samples that come with the demo model, and espeak-ng for more."""

import json
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from whisper_router.plugins import load_engines

DEMO_MODEL = load_engines()["whispercpp"].bundled_models()["demo"]
SAMPLES_DIR = DEMO_MODEL.parent / "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A recording and what is said in it."""

    path: Path
    language: str
    text: str
    channels: int
    seconds: float
    translation: str | None
    segments: tuple[tuple[float, float, str], ...]


def samples() -> list[Sample]:
    """Return every bundled sample."""
    return [
        Sample(
            path=SAMPLES_DIR / entry["file"],
            language=entry["language"],
            text=entry["text"],
            channels=entry["channels"],
            seconds=entry["seconds"],
            translation=entry.get("translation"),
            segments=tuple((s["start"], s["end"], s["text"]) for s in entry["segments"]),
        )
        for entry in json.loads((DEMO_MODEL.parent / "samples.json").read_text())
    ]


def sample(name: str) -> Sample:
    """Return one sample by its file name without the extension."""
    return next(found for found in samples() if found.path.stem == name)


def floats(path: Path) -> NDArray[np.float32]:
    """Decode any audio file to 16 kHz mono samples between -1 and 1."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    with av.open(path) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype("<f4")


def say(text: str, path: Path, *, voice: str = "en-us") -> Path:
    """Write `text` as espeak-ng speaks it: a WAV of 22,050 Hz, mono, 16 bit."""
    subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), text], check=True, timeout=30)
    return path


def joined(target: Path, *parts: Path, silence_s: float = 6.0) -> Path:
    """Write the recordings one after another, with silence between them."""
    with wave.open(str(target), "wb") as out:
        for number, part in enumerate(parts):
            with wave.open(str(part), "rb") as source:
                if number == 0:
                    out.setparams(source.getparams())
                else:
                    out.writeframes(bytes(2 * int(silence_s * source.getframerate())))
                out.writeframes(source.readframes(source.getnframes()))
    return target
