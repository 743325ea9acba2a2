"""`transcribe` and the formats of audio, understood. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from wyoming.event import Event

from whisper_router.api.forms import FORBIDDEN_IN_KEYWORDS, parse_order
from whisper_router.api.live_order import DEFAULT_MODEL
from whisper_router.api.wyoming.wire import BadEvent
from whisper_router.audio.pcm import MAX_CHANNELS, RATES_HZ, WIDTHS, PcmFormat
from whisper_router.domain import Client, Task, TranscriptionRequest

MAX_HOTWORDS: Final = 500
HOTWORDS: Final = ("transcript_names", "transcript_terms")
"""The former have priority, says the library."""


def parse_transcribe(event: Event, *, request_id: str) -> TranscriptionRequest:
    """Return what a `transcribe` asks for; one without data, the default model.

    Raises:
        BadEvent: something has the wrong type.
        InvalidParameter: there is no such language.
    """
    fields = [("model", _text(event.data, "name") or DEFAULT_MODEL)]
    if language := _text(event.data, "language"):
        fields.append(("language", language))
    order = parse_order(fields, task=Task.TRANSCRIBE, request_id=request_id, client=Client())
    return replace(order.request, hotwords=tuple(_hotwords(event.data))[:MAX_HOTWORDS])


def parse_format(event: Event) -> PcmFormat:
    """Return the format that an `audio-start` or `audio-chunk` names.

    Raises:
        BadEvent: it is not complete, or none that can be heard.
    """
    rate_hz, width, channels = (event.data.get(key) for key in ("rate", "width", "channels"))
    if type(rate_hz) is not int or type(width) is not int or type(channels) is not int:
        raise BadEvent(f"'{event.type}' has 'rate', 'width' and 'channels', three numbers.")
    if rate_hz not in RATES_HZ or width not in WIDTHS or channels not in range(1, MAX_CHANNELS + 1):
        raise BadEvent(
            f"Audio of {rate_hz} Hz, {width} bytes and {channels} channels is not supported: "
            f"{RATES_HZ.start} to {RATES_HZ.stop - 1} Hz, 1 to 4 bytes, 1 to {MAX_CHANNELS} "
            "channels are."
        )
    return PcmFormat(rate_hz=rate_hz, width=width, channels=channels)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise BadEvent(f"'{key}' of a 'transcribe' is a string.")
    return (value or "").strip()


def _hotwords(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words to listen for; what would not be accepted as a keyword is left out."""
    for key in HOTWORDS:
        words = data.get(key) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise BadEvent(f"'{key}' of a 'transcribe' is a list of strings.")
        for word in words:
            spelling = word.strip().encode(errors="ignore").decode()
            if spelling and not FORBIDDEN_IN_KEYWORDS & set(spelling):
                yield spelling
