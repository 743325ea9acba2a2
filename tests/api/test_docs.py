"""docs/api.md against the code."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_router.api import body, health, problems  # noqa: F401 (their errors count too)
from whisper_router.api.forms import parse_order
from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.errors import RouterError

DOCS = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")


def errors(base: type[RouterError] = RouterError) -> Iterator[type[RouterError]]:
    for error in base.__subclasses__():
        if error.__module__.startswith("whisper_router."):
            yield error
            yield from errors(error)


@pytest.mark.parametrize("error", list(errors()), ids=lambda error: error.__name__)
def test_every_error_is_in_the_table_of_its_status(error: type[RouterError]):
    """A client's author looks there."""
    code = f"`{error.code}`" if error.code else "null"
    rows = [line for line in DOCS.splitlines() if line.startswith(f"| {error.status} |")]
    assert any(code in row for row in rows)


@pytest.mark.parametrize("endpoint", health.ENDPOINTS)
def test_every_endpoint_is_documented(endpoint: str):
    """And with the path as it is."""
    assert endpoint in DOCS


def documented_fields() -> list[str]:
    """Return the names in the first column of the tables of form fields."""
    tables = DOCS.partition("## Transcriptions")[2].partition("### Translations")[0]
    cells = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in cell.replace("`", "").replace(" ", "").split(",")]


VALUES = {
    "language": "de", "prompt": "x", "temperature": "0.5", "include[]": "logprobs",
    "chunking_strategy": "none", "keywords[]": "a", "languages[]": "fr", "hotwords": "a",
    "vad": "true", "beam_size": "2", "best_of": "2", "temperature_inc": "0.1",
    "entropy_threshold": "1", "logprob_threshold": "-2", "no_speech_threshold": "0.1",
    "suppress_nst": "true", "context": "true", "on_error": "skip",
    "timestamp_granularities[]": "word", "model": "m", "diarize": "true",
    "diarization": "channels", "align": "true", "alignment": "none",
    "transcription": "whispercpp",
    "suppress_numerals": "true", "batch_size": "2",
}  # fmt: skip


def request_of(*fields: tuple[str, str]) -> TranscriptionRequest:
    form = [("model", "x"), ("response_format", "verbose_json"), *fields]
    return parse_order(form, task=Task.TRANSCRIBE).request


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_documented_field_changes_the_request(name: str):
    """No field is documented that does nothing, but for those that say so."""
    assert name in documented_fields()
    assert request_of((name, VALUES[name])) != request_of()


def test_no_further_field_is_documented():
    """The rest is the file, what shapes the answer, and what says more of speakers."""
    rest = set(documented_fields()) - set(VALUES)
    assert rest == {
        "file", "response_format", "stream", "keep_alive",
        "max_line_width", "max_line_count", "max_words_per_line", "highlight_words",
        "known_speaker_names[]", "known_speaker_references[]",
        "min_speakers", "max_speakers", "num_speakers",
    }  # fmt: skip
