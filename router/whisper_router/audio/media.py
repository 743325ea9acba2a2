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
    """A stretch of speech, or of silence in it, in seconds from the start of the audio."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in a piece of audio, beyond what was found before.

    `spans` are stretches of speech that have ended, in order; `pauses` are short pauses inside
    stretches. `going_on` is a stretch of which only the beginning is settled: it ends at its
    `end_s` or later. No other stretch begins before `quiet_until_s` or before the end of that one.
    """

    spans: Sequence[Span] = ()
    pauses: Sequence[Span] = ()
    going_on: Span | None = None
    quiet_until_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How far a file has been decoded, and what was found in the newest piece.

    `expected_s` is how long the file says that it is, None where it does not say. `found` is None
    when speech is not looked for.
    """

    decoded_s: float
    expected_s: float | None
    found: Found | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """When a stretch counts as speech.

    Speech begins at a window whose probability reaches `threshold` and ends where it stays under
    `threshold - hysteresis` for `min_silence_s`. What lasts less than `min_speech_s` is dropped;
    so is a doubtful stretch that is not `min_contrast_db` louder than what is around it (0: none
    is). Each stretch is widened by `pad_s` on both sides, without touching its neighbours. The
    defaults prefer a little silence too much over half a word lost: the engine decides in the end.
    """

    threshold: float = 0.5
    hysteresis: float = 0.15
    min_speech_s: float = 0.1
    min_silence_s: float = 0.5
    pad_s: float = 0.2
    min_contrast_db: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What one file may cost.

    It may take `time_floor_s + time_per_mib_s * file size`, and where speech is looked for,
    `vad_time_factor *` what was listened to so far on top. `memory_bytes` bounds a worker's heap
    (RLIMIT_DATA: Linux enforces it, macOS does not); a worker that has seen ordinary files only
    holds about 100 MiB.
    """

    max_duration_s: float = 12 * 3600.0
    memory_bytes: int = 1024 * MIB
    time_floor_s: float = 30.0
    time_per_mib_s: float = 10.0
    vad_time_factor: float = 0.05
    start_timeout_s: float = 30.0

    def timeout_s(self, *, size_bytes: int, listened_s: float) -> float:
        """Return how long a file of this size may take, so much of which was listened to."""
        return (
            self.time_floor_s
            + self.time_per_mib_s * size_bytes / MIB
            + self.vad_time_factor * listened_s
        )


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
