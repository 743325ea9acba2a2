"""Values that the router and its media workers share. Imports nothing heavy."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from whisper_router.errors import InvalidParameter

OPENAI_PCM_RATE_HZ = 24_000  # OpenAI realtime and speech APIs: `audio/pcm` is 24 kHz s16le mono
MIN_DURATION_S = 0.1
MIB = 1 << 20
EXTENSIONS = frozenset(
    {"flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"}  # OpenAI's list
    | {"3gp", "aac", "aiff", "amr", "caf", "mkv", "mov", "opus", "wma"}
)


class Encoding(StrEnum):
    """How a raw PCM sample is stored."""

    S16LE = "s16le"
    S16BE = "s16be"


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """What raw PCM does not say of itself."""

    encoding: Encoding
    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of speech, in seconds from the start of the audio."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """When a stretch counts as speech.

    Speech begins at a window whose probability reaches `threshold` and ends where it stays under
    `threshold - hysteresis` for `min_silence_s`. What lasts less than `min_speech_s` is dropped,
    and each stretch is widened by `pad_s` on both sides, without touching its neighbours. The
    defaults prefer a little silence too much over half a word lost: the engine decides in the end.
    """

    threshold: float = 0.5
    hysteresis: float = 0.15
    min_speech_s: float = 0.1
    min_silence_s: float = 0.5
    pad_s: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What one file may cost.

    Decoding may take `time_floor_s + time_per_mib_s * file size`, and looking for speech as long
    as `time_floor_s + vad_time_factor * duration` after that. `memory_bytes` bounds a worker's
    heap (RLIMIT_DATA: Linux enforces it, macOS does not); a worker that has seen ordinary files
    only holds about 150 MiB.
    """

    max_duration_s: float = 12 * 3600.0
    memory_bytes: int = 1024 * MIB
    time_floor_s: float = 30.0
    time_per_mib_s: float = 10.0
    vad_time_factor: float = 0.05
    start_timeout_s: float = 30.0

    def decode_timeout_s(self, size_bytes: int) -> float:
        """Return how long a file of this size may take to decode."""
        return self.time_floor_s + self.time_per_mib_s * size_bytes / MIB

    def vad_timeout_s(self, duration_s: float) -> float:
        """Return how long the search for speech may take."""
        return self.time_floor_s + self.vad_time_factor * duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAudio:
    """16 kHz mono float32 samples (native byte order, no header) in `path`.

    `speech` is None when it was not looked for. `codec`, `sample_rate_hz` and `channels` describe
    the source.
    """

    path: Path
    samples: int
    duration_s: float
    speech: Sequence[Span] | None
    codec: str
    sample_rate_hz: int
    channels: int


def pcm_format(content_type: str | None) -> PcmFormat | None:
    """Return the format that a raw PCM content type names, None for every other type.

    `audio/pcm` is little-endian, 24 kHz mono unless `rate` and `channels` say otherwise;
    `audio/L16` (RFC 2586) is big-endian and must state its rate.

    Raises:
        InvalidParameter: `rate` or `channels` is missing, not a number or out of range.
    """
    mime, _, rest = (content_type or "").partition(";")
    parameters = dict(_parameters(rest))
    match mime.strip().lower():
        case "audio/pcm":
            encoding, rate = Encoding.S16LE, parameters.get("rate", str(OPENAI_PCM_RATE_HZ))
        case "audio/l16":
            encoding, rate = Encoding.S16BE, parameters.get("rate", "")
        case _:
            return None
    return PcmFormat(
        encoding=encoding,
        rate_hz=_number("rate", rate, low=1_000, high=384_000),
        channels=_number("channels", parameters.get("channels", "1"), low=1, high=8),
    )


def _parameters(text: str) -> Mapping[str, str]:
    found = re.findall(r"""(?:^|[;\s])([\w.-]{1,64})\s{0,9}=\s{0,9}"?([^";\s]*)"?""", text)
    return {name.lower(): value for name, value in found}


def _number(name: str, text: str, *, low: int, high: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    given = f"'{text}'" if text else "nothing"
    raise InvalidParameter(
        f"The content type of raw PCM needs '{name}' between {low} and {high}, got {given}.",
        param="file",
    )
