"""What an engine cannot do is refused before any work."""

from dataclasses import replace

import pytest

from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.engine_api import Capabilities
from whisper_router.errors import InvalidParameter
from whisper_router.pipeline.demands import check_demands

REQUEST = TranscriptionRequest(model="m")
ALL = Capabilities(
    tasks=frozenset(Task),
    streaming=True,
    word_timestamps=True,
    logprobs=True,
    languages=None,
    concurrency=1,
    accelerators=frozenset({"cpu"}),
)
FEW = replace(
    ALL,
    tasks=frozenset({Task.TRANSCRIBE}),
    word_timestamps=False,
    logprobs=False,
    languages=frozenset({"en", "de"}),
)
DEMANDS = [
    (replace(REQUEST, task=Task.TRANSLATE), "model"),
    (replace(REQUEST, language="fr"), "language"),
    (replace(REQUEST, word_timestamps=True), "timestamp_granularities[]"),
    (replace(REQUEST, logprobs=True), "include"),
]


@pytest.mark.parametrize(("asked", "param"), DEMANDS)
def test_what_cannot_be_done_is_refused_with_its_parameter(asked, param):
    """Status 400, `unsupported_value`, as the API has it for other models."""
    with pytest.raises(InvalidParameter, match="'m'") as caught:
        check_demands(asked, FEW)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_value")
    assert caught.value.param == param


@pytest.mark.parametrize("asked", [demand for demand, _ in DEMANDS])
def test_what_can_be_done_passes(asked):
    """Languages None: the model decides when it runs."""
    check_demands(asked, ALL)


@pytest.mark.parametrize("language", [None, "en", "de"])
def test_a_language_that_is_known_or_to_be_detected_passes(language):
    """Detection is the engine's business."""
    check_demands(replace(REQUEST, language=language), FEW)
