"""The field `chunking_strategy`: `auto`, `none`, or a `server_vad` object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from whisper_router.api.fields import Fields, integer, number, parse_json, quoted
from whisper_router.domain import SpeechDetection
from whisper_router.errors import InvalidParameter

MAX_VAD_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """What `chunking_strategy` means. `vad` None: as configured."""

    vad: bool | None = None
    speech: SpeechDetection = field(default_factory=SpeechDetection)


def parse_chunking(form: Fields) -> Chunking:
    """Return what the form says of chunking.

    Raises:
        InvalidParameter: it is neither a known strategy nor a valid object.
    """
    keys = form.mapping("chunking_strategy")
    text = (form.text("chunking_strategy") or "auto").strip()
    if not keys and text.startswith(("{", '"')):
        value = parse_json("chunking_strategy", text)
        if isinstance(value, dict):
            keys = {key: _scalar(item) for key, item in value.items() if item is not None}
            return _server_vad(keys)
        text = str(value)
    if keys:
        return _server_vad(keys)
    if text not in {"auto", "none", "null"}:
        raise InvalidParameter(
            f"Invalid value for 'chunking_strategy': {quoted(text)}. "
            "Expected 'auto', 'none' or an object of type 'server_vad'.",
            param="chunking_strategy",
        )
    return Chunking(vad=False if text == "none" else None)


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _server_vad(keys: Mapping[str, str]) -> Chunking:
    unknown = keys.keys() - {"type", "prefix_padding_ms", "silence_duration_ms", "threshold"}
    if unknown or keys.get("type") != "server_vad":
        raise InvalidParameter(
            "chunking_strategy must be an object of type 'server_vad' with no other keys than "
            "prefix_padding_ms, silence_duration_ms and threshold.",
            param="chunking_strategy",
        )
    param = "chunking_strategy"
    padding_ms = integer(param, keys.get("prefix_padding_ms"), low=0, high=MAX_VAD_MS)
    silence_ms = integer(param, keys.get("silence_duration_ms"), low=0, high=MAX_VAD_MS)
    return Chunking(
        vad=True,
        speech=SpeechDetection(
            threshold=number(param, keys.get("threshold"), low=0, high=1),
            pad_s=None if padding_ms is None else padding_ms / 1000,
            min_silence_s=None if silence_ms is None else silence_ms / 1000,
        ),
    )
