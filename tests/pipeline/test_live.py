"""Live sessions on the demo model, and on engines that hang and crash."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace

import pytest

from support.blocking import no_blocking_calls
from support.chunk_bench import LIMITS
from support.in_process import settings_in
from support.processes import begun
from support.scripted_engine import hung, orders
from support.speech import floats, sample
from whisper_router.app import build_router
from whisper_router.audio.spool import Spool
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import (
    AudioRejected,
    MediaFailed,
    ModelNotFound,
    TooManySessions,
)
from whisper_router.live.events import Cleared, Confirmed, Failed, Final, Reached
from whisper_router.live.session import LiveOptions
from whisper_router.live.turns import TurnOptions
from whisper_router.pipeline.chunk import ChunkBudget
from whisper_router.pipeline.live import LiveDefaults, LiveSessions
from whisper_router.scheduling.dispatch import Dispatcher

REQUEST = TranscriptionRequest(model="demo", request_id="live")
STEADY = LiveOptions(step_s=2.0)
"""No answer of the demo model takes so long that the step grows."""


@pytest.fixture
async def live(tmp_path):
    """The sessions of a whole router, of which each model may have one."""
    models = {"demo": {"model": "demo", "max_sessions": 1}}
    async with build_router(settings_in(tmp_path, models=models)) as router:
        yield router.live


@pytest.fixture
async def make_live(make_bench, tmp_path):
    """Make sessions over a scripted engine; the windows are small."""
    with Spool.create(tmp_path / "spool") as spool:
        made = []

        def make(*plans, limit=1):
            bench = make_bench(*plans)
            dispatcher = Dispatcher(bench.pool, LIMITS)
            limits = LiveDefaults(
                options=LiveOptions(step_s=1.5, max_window_s=3, max_backlog_s=3, trim_s=2),
                budget=ChunkBudget(floor_s=20, factor=0),
            )
            made.append(
                LiveSessions(
                    spool=spool,
                    dispatcher_of=lambda _name: dispatcher,
                    most_of=lambda _alias: limit,
                    limits=limits,
                )
            )
            return made[-1], bench, spool

        yield make
        for sessions in made:
            sessions.close()


async def listen(live, samples, sizes, *, options=STEADY, request=REQUEST):
    """Return what is told of `samples`, sent in pieces of these sizes over and over."""
    async with asyncio.timeout(50), live.open(request, options) as run:

        async def send():
            at = 0
            while at < len(samples):
                for size in sizes:
                    await run.hear(samples[at : at + size])
                    at += size
            await run.end()

        sending = begun(send())
        events = [event async for event in run.events()]
        await sending
        return events


def finals(events):
    return [event for event in events if isinstance(event, Final)]


async def test_chunkings_of_the_same_speech_give_the_same_finals(live):
    """On the real engine: odd sizes, single samples, all at once."""
    said, source = sample("en_three_segments"), random.Random(4)
    samples, told = floats(said.path), []
    for _ in range(4):
        sizes = [*source.sample([1, 511, 512, 1600, 8000, 48_000], 5), 4000]
        told.append(finals(await listen(live, samples, sizes)))
    assert " ".join(final.text for final in told[0]) == said.text
    texts = [[(f.text, f.start_s, f.end_s, f.language) for f in finals] for finals in told]
    assert texts == [texts[0]] * 4


@pytest.mark.parametrize("name", ["en_call_sign", "fr_digits", "en_noisy_20db", "silence"])
async def test_the_text_is_that_of_the_file(live, name):
    """In its language; confirmed words come before the final that holds them."""
    said = sample(name)
    events = await listen(live, floats(said.path), [4000], options=None)
    assert " ".join(final.text for final in finals(events)) == said.text
    assert {final.language for final in finals(events)} <= {said.language}
    words = [word for event in events if isinstance(event, Confirmed) for word in event.words]
    assert words == [word for final in finals(events) for word in final.words]


async def test_the_loop_is_never_blocked(live):
    """Files and the voice detector have threads."""
    with no_blocking_calls():
        events = await listen(live, floats(sample("en_hello_gb").path), [4000], options=None)
    assert [final.text for final in finals(events)] == ["hello world"]


async def test_a_model_has_only_so_many_sessions_at_a_time(live):
    """The next is refused before any audio, and let in once one has ended."""
    async with live.open(REQUEST):
        assert live.running() == {"demo": 1}
        with pytest.raises(TooManySessions, match="1 live sessions") as caught:
            async with live.open(REQUEST):
                pass
        assert (caught.value.status, caught.value.code) == (429, "too_many_sessions")
    assert live.running() == {}
    async with live.open(REQUEST):
        pass


async def test_an_unknown_model_is_refused_before_any_audio(live):
    """A model that is not there."""
    with pytest.raises(ModelNotFound):
        async with live.open(replace(REQUEST, model="nothing")):
            pass
    assert live.running() == {}


async def test_who_leaves_in_the_middle_of_a_hypothesis_leaves_nothing(make_live, tmp_path):
    """No file, no lease, no place; while it hung, only so much audio was taken."""
    live, bench, spool = make_live({"hang_after": 0})
    speech = floats(sample("en_two_speakers_long").path)
    async with asyncio.timeout(30), live.open(replace(REQUEST, model="test")) as run:
        sending = begun(run.hear(speech))
        await hung(tmp_path / "script", 1)
        while run.duration_s < 5:  # noqa: ASYNC110 - nobody reads its events
            await asyncio.sleep(0.005)
        assert not sending.done()
        assert run.duration_s < 8
        assert list(spool.directory.iterdir())
        sending.cancel()
    assert list(spool.directory.iterdir()) == []
    assert (await bench.pool.status()).leases == 0
    assert live.running() == {}
    assert orders(tmp_path / "script")[0]["language"] is None


async def test_an_utterance_on_which_the_engine_fails_is_told_of_and_the_session_goes_on(make_live):
    """Whoever still sends is not kept waiting."""
    live, bench, spool = make_live({"crash_after": 0}, {"crash_after": 0})
    speech = floats(sample("en_two_speakers_long").path)
    async with asyncio.timeout(30), live.open(replace(REQUEST, model="test")) as run:
        sending = begun(run.hear(speech[:160_000]))
        failed = await until(run, Failed)
        assert isinstance(failed.error, AudioRejected)
        await sending
        await run.end()
        assert isinstance([event async for event in run.events()][-1], Reached)
    assert list(spool.directory.iterdir()) == []
    assert (await bench.pool.status()).leases == 0


async def test_a_disk_that_takes_nothing_fails_the_utterance(make_live):
    """Its directory is gone."""
    live, _, spool = make_live({})
    async with asyncio.timeout(30), live.open(replace(REQUEST, model="test")) as run:
        spool.directory.rmdir()
        sending = begun(run.hear(floats(sample("en_two_speakers_long").path)))
        assert isinstance((await until(run, Failed)).error, MediaFailed)
        sending.cancel()


async def until(run, kind):
    """Return the next event of a kind."""
    async with aclosing(run.events()) as events:
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


async def test_a_cut_is_reached_with_all_that_was_said_before_it_and_no_sample_is_added(live):
    """In the middle of a window; then somebody may go on, in another language."""
    english, german = floats(sample("en_hello_gb").path), floats(sample("de_digits").path)
    async with asyncio.timeout(50), live.open(REQUEST) as run:
        await run.hear(english[:-101])
        await run.cut()
        reached = await until(run, Reached)
        assert run.duration_s == reached.at_s == round((len(english) - 101) / 16_000, 3)
        run.expect(replace(REQUEST, language="de"))
        run.tune(TurnOptions(silence_s=0.3))
        await run.hear(german)
        await run.end()
        [final] = finals([event async for event in run.events()])
    assert (final.text, final.language) == (sample("de_digits").text, "de")


async def test_what_is_cleared_is_not_told(live):
    """What is said afterwards is."""
    speech = floats(sample("en_hello_gb").path)
    async with asyncio.timeout(50), live.open(REQUEST) as run:
        await run.hear(speech[: len(speech) // 2])
        assert run.is_speaking
        await run.clear()
        assert not run.is_speaking
        await until(run, Cleared)
        await run.hear(speech)
        await run.end()
        texts = [final.text for final in finals([event async for event in run.events()])]
    assert texts == ["hello world"]


async def test_events_that_nobody_reads_stop_the_work(live):
    """Nothing is lost by that: all of them come once they are read."""
    samples = floats(sample("en_three_segments").path)
    async with asyncio.timeout(50), live.open(REQUEST, LiveOptions(step_s=0.1)) as run:
        await run.hear(samples)
        await run.end()
        events = [event async for event in run.events()]
    assert " ".join(f.text for f in finals(events)) == sample("en_three_segments").text
