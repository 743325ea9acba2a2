"""One chunk on engines that crash, hang and change their minds: real programs, real signals."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from support.chunk_bench import CHUNK, REQUEST, TEXT
from support.own_time import pass_s
from support.processes import begun, gone, written
from support.program_engine import ProcesslessEngine
from support.scripted_engine import GatedEngine, hung, orders
from whisper_router.domain import Chunk, LanguageDetected, Segment, TranscriptionRequest
from whisper_router.engine_api import EngineEvent
from whisper_router.errors import AudioRejected, EngineCrashed, EngineRejected, EngineTimeout
from whisper_router.pipeline.chunk import ASSUMED_RTF, ChunkBudget
from whisper_router.pipeline.losses import Endurance

BUDGET_S = 5.0  # twice, with what listening takes otherwise, is less than it may take


def check_times(segments: Sequence[Segment]) -> None:
    """Assert: in order, not overlapping, on the timeline of the whole audio."""
    edges = [edge for segment in segments for edge in (segment.start_s, segment.end_s)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (5.0, 13.0)


async def test_a_chunk_is_heard_on_the_timeline_of_the_whole_audio(make_bench):
    """The language once, then the segments."""
    bench = make_bench({})
    await bench.listen()
    assert [type(event) for event in bench.heard] == [LanguageDetected, *[Segment] * 8]
    assert bench.text == TEXT
    check_times(bench.segments)


@pytest.mark.parametrize("sent", range(9))
async def test_a_crash_at_any_segment_neither_loses_nor_repeats_text(make_bench, sent):
    """What was sent before the crash is heard once, in one language event."""
    bench = make_bench({"crash_after": sent}, {})
    await bench.listen()
    assert bench.text == TEXT
    assert [type(event) for event in bench.heard].count(LanguageDetected) == 1
    check_times(bench.segments)
    assert (await bench.pool.status()).leases == 0


@pytest.mark.parametrize("sent", [0, 3])
async def test_an_answer_that_cannot_be_understood_is_a_crash(make_bench, sent):
    """Numbers that are none, say: the chunk runs again, and the process serves on."""
    bench = make_bench({"garble_after": sent}, {})
    await bench.listen()
    assert bench.text == TEXT
    check_times(bench.segments)
    assert (await bench.pool.status()).starts == 1


@pytest.mark.parametrize(("first", "second"), [(1, 3), (2, 3), (3, 2), (2, 8), (3, 1)])
@pytest.mark.parametrize("sent", [1, 2])
async def test_a_second_run_that_cuts_otherwise_goes_on_where_the_first_one_broke_off(
    make_bench, first, second, sent
):
    """Sampling at a temperature cuts the same speech in several ways."""
    bench = make_bench({"cut": first, "crash_after": sent}, {"cut": second})
    await bench.listen()
    assert bench.text == TEXT
    check_times(bench.segments)


async def test_a_second_run_keeps_the_language_of_the_first(make_bench, tmp_path):
    """A shorter rest may sound like another language."""
    bench = make_bench({"cut": 2, "crash_after": 1}, {"cut": 3}, {"cut": 3})
    await bench.listen()
    assert [order["language"] for order in orders(tmp_path / "script")] == [None, "en", "en"]


@pytest.mark.parametrize("sent", [(0, 0), (3, 1), (1, 3), (8, 8)])
async def test_two_crashes_reject_the_audio_and_name_the_stretch(make_bench, sent):
    """The third attempt would be the same; what was heard stays heard, once."""
    bench = make_bench(*({"crash_after": count} for count in sent))
    with pytest.raises(AudioRejected, match=r"from 5\.0 s to 13\.0 s") as caught:
        await bench.listen()
    assert caught.value.status == 422
    assert bench.text == "".join(f" w{second}" for second in range(5, 5 + max(sent)))
    assert (await bench.pool.status()).leases == 0


@pytest.mark.parametrize("plan", [{"crash_after": 3}, {"exit_after": 3}])
async def test_audio_that_crashes_engines_is_refused_for_a_while(make_bench, tmp_path, plan):
    """By a signal or with an exit code: the same bytes do not reach an engine again."""
    bench = make_bench(plan)
    for _ in range(2):
        with pytest.raises(AudioRejected):
            await bench.listen()
    assert len(orders(tmp_path / "script")) == 2


@pytest.mark.parametrize("sent", [0, 3, 8])
async def test_a_worker_that_others_end_is_replaced_as_often_as_it_takes(
    make_bench, tmp_path, sent
):
    """The audio has done nothing: more than two attempts, no text lost or repeated, no poison."""
    bench = make_bench(*[{"killed_after": sent}] * 6, {})
    await bench.listen()
    assert bench.text == TEXT
    assert [type(event) for event in bench.heard].count(LanguageDetected) == 1
    check_times(bench.segments)
    assert len(orders(tmp_path / "script")) == 7
    assert (await bench.pool.status()).leases == 0


KILLED, CRASHED = {"killed_after": 1}, {"crash_after": 2}


async def test_what_others_end_does_not_count_as_the_chunks_own_failure(make_bench):
    """One crash among any number of kills is the first one."""
    bench = make_bench(KILLED, KILLED, CRASHED, KILLED, KILLED, {})
    await bench.listen()
    assert bench.text == TEXT


async def test_kills_between_two_crashes_do_not_hide_the_second(make_bench):
    """It is the audio's after all."""
    bench = make_bench(KILLED, CRASHED, KILLED, CRASHED, {})
    with pytest.raises(AudioRejected):
        await bench.listen()


async def test_a_chunk_that_is_ended_each_time_is_given_up_with_a_clear_error(make_bench, tmp_path):
    """502, and no poison: when whoever ends workers has left, the same audio is heard."""
    endurance = Endurance(interruptions=4)
    bench = make_bench(*[{"killed_after": 2}] * 4, {}, endurance=endurance)
    with pytest.raises(EngineCrashed, match=r"interrupted 4 times .* 5\.0 s to 13\.0 s") as caught:
        await bench.listen()
    assert (caught.value.status, caught.value.code) == (502, "engine_crashed")
    assert len(orders(tmp_path / "script")) == 4
    assert (await bench.pool.status()).leases == 0
    bench.heard.clear()
    await bench.listen()
    assert bench.text == TEXT


async def test_a_worker_killed_for_want_of_memory_counts_as_a_crash(make_bench, tmp_path):
    """The kernel sends SIGKILL, too; it counts these, and the audio would do it again."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("oom_kill 7\n")
    bench = make_bench({"hang_after": 1}, {"hang_after": 1}, {}, vmstat=vmstat)
    task = begun(bench.listen())
    async with asyncio.timeout(15):
        for number in (1, 2):
            pid = await hung(tmp_path / "script", number)
            vmstat.write_text(f"oom_kill {7 + number}\n")
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(AudioRejected) as caught:
        await task
    assert "Memory ran out" in str(caught.value.__cause__)


async def test_a_kill_for_want_of_memory_before_the_chunk_began_is_not_its_own(
    make_bench, tmp_path
):
    """Only a count that rises meanwhile tells something."""
    (tmp_path / "vmstat").write_text("oom_kill 7\n")
    bench = make_bench(*[{"killed_after": 1}] * 4, {}, vmstat=tmp_path / "vmstat")
    await bench.listen()
    assert bench.text == TEXT


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_an_operators_signal_costs_nothing_but_time(make_bench, tmp_path, signum):
    """Whichever of the signals by which people end programs; real ones, from outside."""
    bench = make_bench(*[{"hang_after": 3}] * 3, {})
    task = begun(bench.listen())
    async with asyncio.timeout(15):
        for number in (1, 2, 3):
            os.kill(await hung(tmp_path / "script", number), signum)
    await task
    assert bench.text == TEXT


async def test_a_process_that_is_ended_while_it_starts_is_started_again(make_bench, tmp_path):
    """Also then nothing was computed; a start that fails by itself is told at once."""
    begin, go = tmp_path / "begun", tmp_path / "go"
    engine = GatedEngine(begun=begin, go=go)
    bench = make_bench({}, engine=engine)
    task = begun(bench.listen())
    async with asyncio.timeout(15):
        for _ in range(3):
            os.kill(int(await written(begin)), signal.SIGKILL)
            begin.unlink()
        await written(begin)
    go.write_text("")
    await task
    assert bench.text == TEXT
    assert (await bench.pool.status()).starts == 4


async def test_a_crash_between_different_cuts_is_one_of_the_two(make_bench):
    """The rest of the chunk gets no attempts of its own."""
    plans = [{"cut": 2, "crash_after": 1}, {"cut": 3}, {"crash_after": 1}]
    bench = make_bench(*plans)
    with pytest.raises(AudioRejected):
        await bench.listen()
    assert bench.text == " w5 w6 w7"


async def test_a_refusal_is_not_tried_again(make_bench, tmp_path):
    """The second answer would be the same."""
    bench = make_bench({"refuse": True})
    with pytest.raises(EngineRejected):
        await bench.listen()
    assert len(orders(tmp_path / "script")) == 1


async def pass_budget(script: Path, number: int) -> None:
    """Wait until the order of this number is not worked on, and let its time pass at once."""
    if "hang_after" in script.read_text():
        await hung(script, number)
    while not Path(f"{script}.orders").exists() or len(orders(script)) < number:  # noqa: ASYNC110
        await asyncio.sleep(0.005)  # another process sets no event
    pass_s(BUDGET_S)


@pytest.mark.own_time
@pytest.mark.parametrize("plan", [{"hang_after": 0}, {"hang_after": 3}, {"mute": True}])
async def test_a_worker_that_hangs_once_is_ended_and_another_answers(make_bench, tmp_path, plan):
    """Within its budget and little more; nothing of the text is lost or repeated."""
    bench = make_bench(plan, {}, budget_s=BUDGET_S)
    await bench.pool.warm()
    pid = (await bench.pool.status()).pids[0]
    hanging = begun(pass_budget(tmp_path / "script", 1))
    await bench.listen()
    await hanging
    assert bench.text == TEXT
    async with asyncio.timeout(15):
        await gone(pid)


@pytest.mark.own_time
async def test_how_long_a_chunk_may_take_goes_by_what_others_took(make_bench, tmp_path):
    """Nobody waits a minute for a worker that hangs where such a chunk takes a moment."""
    budget = ChunkBudget(floor_s=BUDGET_S / 2, factor=2.0)
    assert budget.for_chunk(CHUNK, None) == pytest.approx(BUDGET_S / 2 + 2 * ASSUMED_RTF * 8)
    bench = make_bench({}, {"hang_after": 3}, {}, budget_s=BUDGET_S / 2, factor=2.0)
    await bench.listen()
    hanging = begun(pass_budget(tmp_path / "script", 1))
    await bench.listen()
    await hanging
    assert bench.text == 2 * TEXT


async def pass_budgets(script: Path) -> None:
    for number in (1, 2):
        await pass_budget(script, number)


@pytest.mark.own_time
@pytest.mark.parametrize("plan", [{"hang_after": 0}, {"hang_after": 3}, {"mute": True}])
async def test_audio_on_which_workers_hang_twice_is_given_up_and_refused_for_a_while(
    make_bench, tmp_path, plan
):
    """504 that names the stretch; the same bytes do not reach an engine again."""
    bench = make_bench(plan, plan, {}, budget_s=BUDGET_S)
    await bench.pool.warm()
    pid = (await bench.pool.status()).pids[0]
    hanging = begun(pass_budgets(tmp_path / "script"))
    with pytest.raises(EngineTimeout, match=r"from 5\.0 s to 13\.0 s within 5 s") as caught:
        await bench.listen()
    assert caught.value.status == 504
    await hanging
    async with asyncio.timeout(15):
        await gone(pid)
    with pytest.raises(AudioRejected):
        await bench.listen()


async def test_a_listener_that_leaves_frees_the_lease_and_ends_the_computation(make_bench):
    """Cancelled in mid-answer, as when a client goes away."""
    bench = make_bench({"hang_after": 3}, {})
    task = begun(bench.listen())
    async with asyncio.timeout(15):
        while len(bench.segments) < 3:  # noqa: ASYNC110 - a list sets no event
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    status = await bench.pool.status()
    assert (status.leases, status.waiting) == (0, 0)


class Lingering(ProcesslessEngine):
    """Notes how many of its computations are going on."""

    def __init__(self) -> None:
        self.running = 0

    async def transcribe(
        self, http, endpoint, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncIterator[EngineEvent]:
        self.running += 1
        try:
            yield Segment(start_s=0.0, end_s=0.5, text=" word")
            yield Segment(start_s=0.5, end_s=1.0, text=" more")
        finally:
            self.running -= 1


async def test_a_computation_ends_before_its_lease(make_bench):
    """Whoever stops reading between two segments must not leave a worker at work."""
    engine = Lingering()
    bench = make_bench(engine=engine)
    async with aclosing(bench.runner.run(CHUNK, REQUEST)) as events:
        await anext(events)
        assert engine.running == 1
    assert engine.running == 0


class Crashing(ProcesslessEngine):
    """Sends empty and zero-length segments, then crashes, the first time."""

    def __init__(self) -> None:
        self.runs = 0

    async def transcribe(
        self, http, endpoint, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncIterator[EngineEvent]:
        self.runs += 1
        yield Segment(start_s=0.0, end_s=1.0, text=" one")
        yield Segment(start_s=1.0, end_s=1.0, text=" two")
        yield Segment(start_s=1.0, end_s=1.0, text=" ")
        if self.runs == 1:
            raise EngineCrashed("gone")
        yield Segment(start_s=1.0, end_s=2.0, text=" three")


async def test_segments_without_any_length_are_not_repeated(make_bench):
    """whisper.cpp stamps short words at one instant."""
    bench = make_bench(engine=Crashing())
    await bench.listen()
    assert bench.text == " one two three"
