"""The recordings that `whisper-router bench` sends."""

import json
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import IO, Any, Final

import av
from av.error import FFmpegError

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import ConfigurationError, InvalidRequest
from whisper_router.plugins import load_engines

MAX_KEPT_BYTES: Final = 32 << 20
"""Larger files are read from disk each time: memory stays the same whatever is sent."""
GAP_S: Final = 0.7
ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording: in memory, or at `path` if it is large."""

    name: str
    seconds: float
    data: bytes | None = None
    path: Path | None = None

    def body(self) -> bytes | IO[bytes]:
        """Return what a form can send."""
        return self.data if self.data is not None else (self.path or Path()).open("rb")


def clips_of_files(paths: Sequence[Path]) -> list[Clip]:
    """Return the recordings in files.

    Raises:
        InvalidRequest: one cannot be read, or holds no audio.
    """
    return [_clip(path) for path in paths]


def bundled_clips(*, language: str | None, seconds: float | None, folder: Path) -> list[Clip]:
    """Return recordings that come with an engine: as they are, or joined to so many seconds.

    Those are written to `folder`, which must stay as long as they are sent.

    Raises:
        ConfigurationError: there are none in this language.
        InvalidRequest: there is no room for them.
    """
    wanted = language or ENGLISH
    found = [
        (entry, folder / "samples" / entry["file"])
        for folder, entry in _samples()
        if entry["language"] == wanted and entry["text"]
    ]
    if not found:
        raise ConfigurationError(f"no bundled recording is in '{wanted}': name files of your own")
    if seconds is None:
        return [_clip(path) for _, path in found]
    plain = [
        path
        for entry, path in found
        if entry["sample_rate"] == SAMPLE_RATE_HZ and entry["channels"] == 1
    ]
    joined = folder / f"speech-{seconds:g}s.wav"
    try:
        _join(plain, seconds, joined)
    except OSError as error:
        raise InvalidRequest(f"{joined}: {error.strerror or error}") from error
    return [_clip(joined)]


def _samples() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for engine in load_engines().values():
        for model in engine.bundled_models().values():
            listed = model.parent / "samples.json"
            if listed.exists():
                for entry in json.loads(listed.read_text(encoding="utf-8")):
                    yield model.parent, entry


def _clip(path: Path) -> Clip:
    try:
        seconds = _seconds(path)
        is_small = path.stat().st_size <= MAX_KEPT_BYTES
        data = path.read_bytes() if is_small else None
    except (OSError, FFmpegError) as error:
        raise InvalidRequest(f"{path}: {error.strerror or error}") from error
    if seconds <= 0:
        raise InvalidRequest(f"{path}: there is no audio in it")
    return Clip(name=path.name, seconds=seconds, data=data, path=path)


def _seconds(path: Path) -> float:
    """Return how long the audio is; a file that does not say is decoded."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        stream = container.streams.audio[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None:
            return container.duration / 1_000_000  # AV_TIME_BASE
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def _join(paths: Sequence[Path], seconds: float, target: Path) -> None:
    """Write recordings one after another, with silence between them, until it is enough."""
    left = round(seconds * SAMPLE_RATE_HZ) * 2
    gap = bytes(round(GAP_S * SAMPLE_RATE_HZ) * 2)
    with wave.open(str(target), "wb") as whole:
        whole.setnchannels(1)
        whole.setsampwidth(2)
        whole.setframerate(SAMPLE_RATE_HZ)
        for path in cycle(paths):
            with wave.open(str(path)) as recording:
                piece = recording.readframes(recording.getnframes()) + gap
            whole.writeframesraw(piece[:left])
            left -= len(piece)
            if left <= 0:
                return
