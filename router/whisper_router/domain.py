"""The words of the project as values: what is asked for and what is recognised.

Times are seconds as `float` from the start of the audio named in the docstring; audio is always
16 kHz mono once it is past `whisper_router.audio`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

SAMPLE_RATE_HZ = 16_000


class Task(StrEnum):
    """What to do with speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


class Lane(IntEnum):
    """How urgent work is; a smaller number goes first."""

    LIVE = 0
    INTERACTIVE = 1
    JOB = 2


class OnError(StrEnum):
    """What to do when a chunk cannot be transcribed: fail the request, or leave a hole."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """On whose behalf a request runs: a key's name, and its weight in the fair queue."""

    name: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One text token with its natural-log probability.

    `data` holds the token's raw UTF-8 bytes: a character may be split over several tokens, so
    `token` (decoded with replacement characters) cannot always be joined back to the text.
    """

    token: str
    logprob: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its place in time. `text` has no surrounding white space.

    `speaker` says whose it is where speakers were told apart.
    """

    text: str
    start_s: float
    end_s: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of recognised speech.

    `text` keeps its leading space and has no trailing white space, so that joining the texts of
    consecutive segments gives the whole text. `seek_s` is where the decoder's 30 s window began.
    `language` is set where a request may hold several, `speaker` where speakers were told apart.
    Every number is finite.
    """

    start_s: float
    end_s: float
    text: str
    tokens: Sequence[int] = ()
    words: Sequence[Word] = ()
    logprobs: Sequence[TokenLogprob] = ()
    seek_s: float = 0.0
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    language: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageDetected:
    """The language of the speech as an ISO 639-1 code (`haw`, `yue` where 639-1 has none)."""

    code: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOptions:
    """How to decode. `None` leaves the choice to the alias's configuration."""

    temperature: float | None = None
    temperature_increment: float | None = None
    beam_size: int | None = None
    best_of: int | None = None
    entropy_threshold: float | None = None
    logprob_threshold: float | None = None
    no_speech_threshold: float | None = None
    suppress_nst: bool | None = None
    suppress_numerals: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDetection:
    """How to look for speech; None leaves the choice to the server's configuration."""

    threshold: float | None = None
    pad_s: float | None = None
    min_silence_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions:
    """How to tell speakers apart.

    `method` is the name of a diarization plugin; empty: as the server is configured. `names` are
    those of known speakers. `has_references`: there are samples of their voices to compare with.
    """

    method: str = ""
    min_speakers: int | None = None
    max_speakers: int | None = None
    names: Sequence[str] = ()
    has_references: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionRequest:
    """One request, free of any dialect.

    `language` is a code as in `LanguageDetected`, or None to detect it, once for the whole request
    or, with `mixed_languages`, for each chunk. `hotwords` are words that the speech is likely to
    hold. `vad` None means: as the server is configured. `carry_context` gives each chunk the text
    before it as a prompt, which makes the chunks wait for each other; None: if that costs no time.
    No more than `max_parallel` chunks run at a time; None: as many as there are workers.
    `transcription` is the name of the engine that the model is expected to have; empty: any.
    `alignment` is the name of the plugin that places words in time; empty: none is asked for;
    `auto`: as the engine stamps them, if it does.
    `speakers` None: speakers are not told apart.
    `via` is the `Via` header (RFC 9110 7.6.3) for servers that work on it is sent on to, `trace`
    holds those of W3C Trace Context for them.
    """

    model: str
    request_id: str = ""
    task: Task = Task.TRANSCRIBE
    language: str | None = None
    prompt: str = ""
    hotwords: Sequence[str] = ()
    word_timestamps: bool = False
    logprobs: bool = False
    vad: bool | None = None
    speech: SpeechDetection = field(default_factory=SpeechDetection)
    mixed_languages: bool = False
    carry_context: bool | None = None
    max_parallel: int | None = None
    transcription: str = ""
    alignment: str = ""
    speakers: SpeakerOptions | None = None
    on_error: OnError = OnError.FAIL
    lane: Lane = Lane.INTERACTIVE
    client: Client = field(default_factory=Client)
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    via: str = ""
    trace: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one request's audio: samples `[start, end)` of a raw float32 file.

    The file holds 16 kHz mono little-endian float32 samples and nothing else.
    """

    path: Path
    start: int
    end: int

    @property
    def start_s(self) -> float:
        """Where the chunk begins in the request's audio, in seconds."""
        return self.start / SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float:
        """How long the chunk is, in seconds."""
        return (self.end - self.start) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFound:
    """The upload is audio: its beginning could be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioReady:
    """All audio was decoded. `speech_s` is None when voice activity was not looked for."""

    duration_s: float
    speech_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A stretch of speech that could not be transcribed, in seconds of the request's audio."""

    start_s: float
    end_s: float
    reason: str


TranscriptEvent = AudioFound | AudioReady | LanguageDetected | Segment | Hole


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The whole result of one request, on the timeline of the request's audio."""

    task: Task
    language: str | None
    duration_s: float
    segments: Sequence[Segment]
    holes: Sequence[Hole] = ()

    @property
    def text(self) -> str:
        """All segment texts joined, without surrounding white space."""
        return "".join(segment.text for segment in self.segments).strip()
