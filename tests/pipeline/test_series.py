"""The chunks of one request: language, context, holes."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from support.chunk_bench import REQUEST
from support.scripted_engine import orders
from whisper_router.domain import Chunk, Hole, OnError, Segment
from whisper_router.errors import AudioRejected, EngineRejected
from whisper_router.pipeline.chunk_memory import NO_MEMORY
from whisper_router.pipeline.plan import PlannedChunk
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.pipeline.series import HOLE_TEXT, Series
from whisper_router.tasks import Tasks


@pytest.fixture
def path(tmp_path) -> Path:
    """Ten seconds of noise."""
    path = tmp_path / "audio.f32"
    path.write_bytes(random.Random(0).randbytes(4 * 16_000 * 10))
    return path


@pytest.fixture
def chunks(path) -> list[Chunk]:
    """Three chunks of two seconds, with different samples."""
    return [
        Chunk(path=path, start=second * 16_000, end=(second + 2) * 16_000) for second in (0, 4, 8)
    ]


async def planned(chunks):
    """What a planner would give for them."""
    for chunk in chunks:
        yield PlannedChunk(start=chunk.start, end=chunk.end)


async def listen(bench, chunks, *, width: int = 2, memory=NO_MEMORY, **changes):
    """Return the events of the series and its tracker."""
    tracker, tasks = Tracker(""), Tasks()
    capabilities = replace(bench.pool.capabilities, concurrency=width)
    request = replace(REQUEST, **changes)
    series = Series(bench.runner, request, tracker, capabilities=capabilities, memory=memory)
    running = series.run(planned(chunks), chunks[0].path, tasks)
    async with asyncio.timeout(20), aclosing(running) as events:
        heard = [event async for event in events]
    await tasks.close()
    return heard, tracker


def text(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Segment))


async def test_the_later_chunks_are_asked_in_the_language_of_the_first(
    make_bench, chunks, tmp_path
):
    """Detection runs once, unless each chunk is to have its own."""
    await listen(make_bench({}), chunks)
    assert [order["language"] for order in orders(tmp_path / "script")] == [None, "en", "en"]


async def test_with_mixed_languages_each_chunk_is_asked_to_detect(make_bench, chunks, tmp_path):
    """And each segment says which one it is in."""
    heard, _ = await listen(make_bench({}), chunks, mixed_languages=True)
    assert [order["language"] for order in orders(tmp_path / "script")] == [None] * 3
    assert {event.language for event in heard if isinstance(event, Segment)} == {"en"}


@pytest.mark.parametrize(
    ("width", "carry", "prompts"),
    [
        (1, None, ["P", "P w0 w1", "P w0 w1 w4 w5"]),
        (2, None, ["P", "P", "P"]),
        (2, True, ["P", "P w0 w1", "P w0 w1 w4 w5"]),
        (1, False, ["P", "P", "P"]),
    ],
)
async def test_text_is_carried_where_it_costs_no_time_or_is_asked_for(
    make_bench, chunks, tmp_path, width, carry, prompts
):
    """The user's prompt is in every chunk."""
    await listen(make_bench({}), chunks, width=width, prompt="P", carry_context=carry)
    assert [order["prompt"] for order in orders(tmp_path / "script")] == prompts


class Counting:
    """Remembers nothing, and counts the chunks that are between the question and the answer."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def recall(self, planned) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    async def keep(self, planned, events) -> None:
        self.now -= 1


@pytest.mark.parametrize(("asked", "most"), [(None, 2), (1, 1), (9, 2)])
async def test_no_more_chunks_run_at_once_than_a_request_wants(make_bench, chunks, asked, most):
    """Nor than there are workers."""
    counting = Counting()
    fields = {"language": "en", "max_parallel": asked, "carry_context": False}
    await listen(make_bench({}), chunks, memory=counting, **fields)
    assert counting.most == most


@pytest.mark.parametrize("width", [1, 2])
async def test_after_a_lost_first_chunk_the_next_one_tells_the_language(
    make_bench, chunks, tmp_path, width
):
    """The others still do not detect it each for itself."""
    mute = {"mute": True}  # lost before it tells a language
    bench = make_bench(mute, mute, {}, budget_s=0.3)
    await listen(bench, chunks, width=width, on_error=OnError.SKIP)
    asked = [order["language"] for order in orders(tmp_path / "script")]
    assert asked == [None, None, None, "en"]


async def test_a_lost_chunk_fails_the_request(make_bench, chunks):
    """As nobody asked for holes."""
    with pytest.raises(AudioRejected, match=r"from 0\.0 s to 2\.0 s"):
        await listen(make_bench({"crash_after": 0}), chunks)


async def test_a_lost_chunk_is_a_hole_when_that_is_asked_for(make_bench, chunks):
    """Marked in the text, and told with its place and reason; the rest is there."""
    bench = make_bench({"crash_after": 1}, {"crash_after": 1}, {})
    heard, tracker = await listen(bench, chunks, width=1, on_error=OnError.SKIP)
    assert text(heard) == f" w0{HOLE_TEXT} w4 w5 w8 w9"
    [hole] = [event for event in heard if isinstance(event, Hole)]
    assert (hole.start_s, hole.end_s) == (1.0, 2.0)
    assert "crashed twice" in hole.reason
    assert tracker.report.done_s == 6.0
    assert tracker.report.stage is Stage.TRANSCRIBING


async def test_what_the_engine_refuses_is_no_hole(make_bench, chunks):
    """It would refuse every chunk: the request is wrong, not the audio."""
    with pytest.raises(EngineRejected):
        await listen(make_bench({"refuse": True}), chunks, on_error=OnError.SKIP)


class Notebook:
    """Remembers chunks by their place."""

    def __init__(self) -> None:
        self.pages = {}

    async def recall(self, planned):
        return self.pages.get(planned)

    async def keep(self, planned, events) -> None:
        self.pages[planned] = list(events)


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("carry", [False, True])
async def test_chunks_that_are_remembered_are_not_run_again(
    make_bench, chunks, tmp_path, missing, carry
):
    """The text, its language and its context are as if they had been."""
    notebook, script = Notebook(), tmp_path / "script"
    bench = make_bench({})
    whole, _ = await listen(bench, chunks, memory=notebook, carry_context=carry)
    before = orders(script)
    assert len(before) == len(notebook.pages) == 3
    del notebook.pages[list(notebook.pages)[missing]]
    again, tracker = await listen(bench, chunks, memory=notebook, carry_context=carry)
    assert again == whole
    assert len(notebook.pages) == 3
    assert orders(script)[3:] == [before[missing]]
    assert tracker.report.done_s == 6.0


async def test_a_chunk_that_fails_is_not_remembered(make_bench, chunks):
    """It is run again the next time."""
    notebook = Notebook()
    bench = make_bench({"refuse": True})
    with pytest.raises(EngineRejected):
        await listen(bench, chunks, memory=notebook)
    assert notebook.pages == {}
