"""Session objects as clients know them: the GA shape, and the flat one of the beta. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from whisper_router.api.realtime.config import SessionConfig
from whisper_router.errors import InvalidParameter

Json = dict[str, Any]

OBJECT = "realtime.transcription_session"
LEFT_OUT = frozenset(
    {"idle_timeout_ms", "create_response", "interrupt_response", "languages", "keywords", "delay"}
)
"""What is told only where it was given."""
FORMATS: Mapping[str, Json] = MappingProxyType(
    {
        "pcm16": {"type": "audio/pcm", "rate": 24_000},
        "g711_ulaw": {"type": "audio/pcmu"},
        "g711_alaw": {"type": "audio/pcma"},
    }
)
FLAT: Mapping[str, str] = MappingProxyType(
    {
        "input_audio_format": "format",
        "input_audio_transcription": "transcription",
        "input_audio_noise_reduction": "noise_reduction",
        "turn_detection": "turn_detection",
    }
)
"""Key of the beta → key of `session.audio.input`."""


def ga_session(config: SessionConfig, *, session_id: str, expires_at: int) -> Json:
    """Return the session object of `session.created` and `session.updated`."""
    return {
        "id": session_id,
        "object": OBJECT,
        "type": "transcription",
        "expires_at": expires_at,
        "include": config.include,
        "audio": {"input": _input(config)},
    }


def beta_session(config: SessionConfig, *, session_id: str, expires_at: int) -> Json:
    """Return the session object of `transcription_session.created` and `….updated`."""
    told = _input(config)
    names = {shape["type"]: name for name, shape in FORMATS.items()}
    return {
        "id": session_id,
        "object": OBJECT,
        "expires_at": expires_at,
        "client_secret": None,
        **{name: told[key] for name, key in FLAT.items()},
        "input_audio_format": names[told["format"]["type"]],
        "include": config.include,
    }


def from_beta(session: object) -> Json:
    """Return the GA form of a beta client's `session`; unknown keys stay, to be refused there.

    Raises:
        InvalidParameter: it is no object, or names an unknown format.
    """
    if not isinstance(session, Mapping):
        raise InvalidParameter("'session' must be an object.", param="session")
    given: Json = {}
    outer: Json = {"type": "transcription", "audio": {"input": given}}
    for name, value in session.items():
        if name == "input_audio_format" and value is not None:
            if not isinstance(value, str) or value not in FORMATS:
                raise InvalidParameter(
                    f"'session.input_audio_format' must be one of {', '.join(FORMATS)}.",
                    param="session.input_audio_format",
                )
            given["format"] = FORMATS[value]
        elif name in FLAT:
            given[FLAT[name]] = value
        elif name != "type":
            outer[name] = value
    return outer


def beta_path(path: str | None) -> str | None:
    """Return what a beta client calls what is wrong in its session."""
    if path is None:
        return None
    for name, key in FLAT.items():
        path = path.replace(f"session.audio.input.{key}", f"session.{name}")
    return path


def _input(config: SessionConfig) -> Json:
    told: Json = config.input.model_dump()
    for part in ("transcription", "turn_detection"):
        if told[part] is not None:
            told[part] = {
                key: value
                for key, value in told[part].items()
                if value is not None or key not in LEFT_OUT
            }
    return told
