"""insanely-fast-whisper-api's part against its routes."""

import aiohttp
import pytest
from jsonschema import ValidationError

from support.api_app import Api
from support.openapi import check, check_answer, described
from whisper_router.api.dialects.insanely_fast_whisper import Timestamp, output_of
from whisper_router.api.openapi.dialect_insanely import TAKEN, fields
from whisper_router.api.openapi.form import common
from whisper_router.domain import Segment, Task, Transcript, Word

SAID = Transcript(
    task=Task.TRANSCRIBE,
    language="en",
    duration_s=1.0,
    segments=(
        Segment(
            start_s=0.0,
            end_s=1.0,
            text=" hello",
            words=(Word(start_s=0.0, end_s=0.5, text="hello", probability=1.0),),
            speaker="A",
        ),
    ),
)


@pytest.mark.parametrize(
    ("body", "param"), [({}, "url"), ({"task": "sing"}, "task"), ({"is_async": True}, "webhook")]
)
async def test_what_is_wrong_is_told_as_described(
    api: Api, http: aiohttp.ClientSession, body: dict[str, object], param: str
):
    """With FastAPI's `detail`."""
    async with http.post(f"{api.root}/", json=body) as answer:
        assert answer.status == 400
        assert (await check_answer("/", answer))["error"]["param"] == param


@pytest.mark.parametrize("timestamp", Timestamp)
def test_the_output_is_as_described(timestamp: Timestamp):
    """Segments or words, and turns."""
    told = described()
    schema = told["components"]["schemas"]["InsanelyEnded"]
    check(told, schema, {"status": "completed", "output": output_of(SAID, timestamp)})
    with pytest.raises(ValidationError):
        check(told, schema, {"status": "completed", "output": {}})


def test_fields_of_ours_are_described_once():
    """Under the name that clients of the other server know."""
    names = [item.name for item in fields()]
    assert len(names) == len(set(names))
    assert set(TAKEN) <= {item.name for item in common()}
    assert "diarise_audio" in names
    assert "diarize" not in names
