"""What a realtime session is configured to do: parsed, merged and told in the GA shape. Pure.

Fields, values and defaults are those of the Realtime API's transcription sessions. A session's
configuration is never half changed: an update that is wrong anywhere changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whisper_router.errors import InvalidParameter, MissingParameter
from whisper_router.languages import language_code
from whisper_router.live.turns import TurnOptions

LOGPROBS = "item.input_audio_transcription.logprobs"
TENTATIVE = "item.input_audio_transcription.tentative"
"""Ours: what is heard but may change is told too."""
FORBIDDEN_IN_KEYWORDS = frozenset("<>\r\n")
NULL_IS_DEFAULT = frozenset(
    {"format", "transcription", "audio", "input", "eagerness", "strength"}
    | {"threshold", "prefix_padding_ms", "silence_duration_ms"}
)
"""Elsewhere null is a value of its own: off, or not given."""
CODES = {
    "extra_forbidden": "unknown_parameter",
    "greater_than_equal": "integer_below_min_value",
    "less_than_equal": "integer_above_max_value",
}
TAGS = frozenset(  # types that decide which other keys there are
    {"audio/pcm", "audio/pcmu", "audio/pcma", "server_vad", "semantic_vad"}
)


EARLY_S = 0.5
PATIENCE_S = MappingProxyType({"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Pcm(_Part):
    """16-bit little-endian mono samples."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: int = Field(default=24_000, ge=24_000, le=24_000)


class Pcmu(_Part):
    """G.711 with the law of North America and Japan, 8 kHz."""

    type: Literal["audio/pcmu"] = "audio/pcmu"


class Pcma(_Part):
    """G.711 with the law of the rest of the world, 8 kHz."""

    type: Literal["audio/pcma"] = "audio/pcma"


class Transcription(_Part):
    """Which model is asked, and what it is told. `delay` is accepted and has no effect."""

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = Field(default=None, min_length=1, max_length=100)
    keywords: list[Annotated[str, Field(max_length=100)]] | None = Field(
        default=None, max_length=100
    )
    prompt: str | None = Field(default=None, max_length=4096)
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class NoiseReduction(_Part):
    """Accepted and told again; the audio is heard as it is."""

    type: Literal["near_field", "far_field"]
    strength: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)


class ServerVad(_Part):
    """A silence of a certain length ends a turn. The last three have no effect here."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=50, le=60_000)
    idle_timeout_ms: int | None = Field(default=None, ge=5000, le=30_000)
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVad(_Part):
    """A turn that sounds complete ends soon, another one later."""

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Input(_Part):
    """`session.audio.input`."""

    format: Annotated[Pcm | Pcmu | Pcma, Field(discriminator="type")] = Pcm()
    transcription: Transcription = Transcription()
    noise_reduction: NoiseReduction | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = (
        ServerVad()
    )


class Audio(_Part):
    """`session.audio`."""

    input: Input = Input()


class SessionConfig(_Part):
    """A whole session."""

    type: Literal["transcription"] = "transcription"
    audio: Audio = Audio()
    include: (
        list[
            Literal[
                "item.input_audio_transcription.logprobs",
                "item.input_audio_transcription.tentative",
            ]
        ]
        | None
    ) = None

    @property
    def input(self) -> Input:
        """What is configured of the input."""
        return self.audio.input

    @property
    def language(self) -> str | None:
        """The language to recognise; None: to be detected, also where several are possible."""
        spoken = self.input.transcription
        named = [spoken.language] if spoken.language else spoken.languages or []
        return language_code(named[0]) if len(named) == 1 else None

    def turns(self, usual: TurnOptions) -> TurnOptions:
        """Return when a turn begins and ends. Where the client says that, nothing is lost by cuts.

        A semantic turn is over after `EARLY_S` of silence if the text so far ends as a sentence
        does, else after the longest silence that its eagerness allows (8, 4 or 2 s, as documented).
        """
        detection = self.input.turn_detection
        if isinstance(detection, ServerVad):
            return replace(
                usual,
                threshold=detection.threshold,
                prefix_s=detection.prefix_padding_ms / 1000,
                silence_s=detection.silence_duration_ms / 1000,
            )
        if isinstance(detection, SemanticVad):
            return replace(usual, silence_s=PATIENCE_S[detection.eagerness], early_s=EARLY_S)
        return usual

    def includes(self, what: str) -> bool:
        """Whether `what` is to be told besides."""
        return what in (self.include or ())

    def updated(self, update: object, *, defaults: "SessionConfig") -> "SessionConfig":
        """Return what the configuration is after a client's `session`.

        Keys that are not there stay as they are, null goes back to the default or switches off.
        What is of another type than before begins with `defaults`.

        Raises:
            MissingParameter: there is no `session.type`.
            InvalidParameter: something in it is unknown or wrong; `param` is its path.
        """
        if not isinstance(update, Mapping):
            raise InvalidParameter("'session' must be an object.", param="session")
        kind = update.get("type")
        if kind is None:
            raise MissingParameter("session.type")
        if kind == "realtime":
            raise InvalidParameter(
                "Passing a realtime session update to a transcription session is not allowed.",
                param="session.type",
            )
        merged = _merged(self.model_dump(), update, defaults.model_dump())
        try:
            config = SessionConfig.model_validate(merged)
        except ValidationError as error:
            raise _problem(error) from error
        _check_words(config.input.transcription)
        return config


def _merged(current: Any, update: Any, default: Any) -> Any:
    """Return `current` with what `update` names; null means the default if that is an object."""
    if not isinstance(update, Mapping):
        return update
    begin = current if isinstance(current, Mapping) else default
    if not isinstance(begin, Mapping):
        return update
    if begin.get("type") in TAGS and update.get("type", begin["type"]) != begin["type"]:
        begin = default if _is_like(default, update) else {}
    usual = default if isinstance(default, Mapping) else {}
    merged = dict(begin)
    for name, value in update.items():
        if value is None and name in NULL_IS_DEFAULT:
            if usual.get(name) is None:
                merged.pop(name, None)  # the type has a default of its own
            else:
                merged[name] = usual[name]
        else:
            merged[name] = _merged(begin.get(name), value, usual.get(name))
    return merged


def _is_like(default: Any, update: Mapping[str, Any]) -> bool:
    return isinstance(default, Mapping) and default.get("type") == update["type"]


def _problem(error: ValidationError) -> InvalidParameter:
    """Return the first thing that is wrong, by its path in the client's object."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(["session", *(str(part) for part in first["loc"] if part not in TAGS)])
    code = CODES.get(first["type"], "invalid_value")
    if code.startswith("integer_") and not path.endswith(("_ms", ".rate")):
        code = "invalid_value"
    if code == "unknown_parameter":
        return InvalidParameter(f"Unknown parameter: '{path}'.", param=path, code=code)
    if first["type"] == "missing":
        code = "missing_required_parameter"
    if first["type"].startswith("union_tag"):
        path += ".type"
    return InvalidParameter(f"Invalid '{path}': {first['msg']}.", param=path, code=code)


def _check_words(spoken: Transcription) -> None:
    path = "session.audio.input.transcription"
    named: Sequence[tuple[str, str]] = [
        *([("language", spoken.language)] if spoken.language else []),
        *(("languages", item) for item in spoken.languages or []),
    ]
    for name, value in named:
        if language_code(value) is None:
            raise InvalidParameter(
                f"'{value}' is not a language that Whisper knows.", param=f"{path}.{name}"
            )
    if any(FORBIDDEN_IN_KEYWORDS & set(item) or not item.strip() for item in spoken.keywords or []):
        raise InvalidParameter(
            "A keyword is one line of text without '<' and '>'.", param=f"{path}.keywords"
        )
