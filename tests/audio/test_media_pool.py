"""The pool, with real workers that are really killed."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from support.audio_files import SAMPLES, flac_of_silence, tone, wav
from support.own_time import pass_s
from support.processes import begun
from whisper_router.audio.media import Encoding, MediaLimits, PcmFormat, VadOptions
from whisper_router.audio.media_pool import LARGE_BYTES, MediaPool, _Turn
from whisper_router.errors import (
    AudioRejected,
    AudioTooLong,
    AudioTooShort,
    AudioUndecodable,
    MediaFailed,
    ShuttingDown,
    StorageFull,
)
from whisper_router.tasks import Tasks

WAIT_S = 30
SHORT = SAMPLES / "en_hello_gb.wav"


@pytest.fixture
async def start():
    """Start pools; they are closed, and their workers gone, after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(workers: int = 1, **limits) -> MediaPool:
            tasks = Tasks()
            stack.push_async_callback(tasks.close)
            pool = MediaPool(workers=workers, limits=MediaLimits(**limits), tasks=tasks)
            stack.push_async_callback(pool.close)
            await pool.start()
            return pool

        yield start


@pytest.fixture(scope="session")
def days(tmp_path_factory) -> Path:
    """A small file that takes a worker many seconds: 30 days of FLAC."""
    path = tmp_path_factory.mktemp("long") / "days.flac"
    path.write_bytes(flac_of_silence(30 * 86_400))
    return path


@pytest.fixture(autouse=True)
async def _time_limit():
    async with asyncio.timeout(WAIT_S):
        yield


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    while not condition():  # noqa: ASYNC110 - processes and files set no event
        await asyncio.sleep(0.005)


async def writing(target: Path) -> None:
    """Return once a worker writes `target`."""
    await until(lambda: target.exists() and target.stat().st_size > 0)


async def pids(pool: MediaPool, *, but: set[int], count: int) -> list[int]:
    """Return the pool's workers once there are `count` and none is of `but`."""
    await until(lambda: len(pool.pids) == count and not but & set(pool.pids))
    return list(pool.pids)


@pytest.mark.both_loops
async def test_audio_is_prepared_with_its_speech(start, tmp_path):
    """Samples on disk, spans, and what the source was."""
    pool = await start()
    source = SAMPLES / "stereo_two_speakers_44k.wav"
    target = tmp_path / "out.f32"
    prepared = await pool.prepare(source, target, pcm=None, vad=VadOptions())
    assert prepared.path == target
    assert target.stat().st_size == prepared.samples * 4
    assert prepared.duration_s == pytest.approx(6.67, abs=0.01)
    assert (prepared.codec, prepared.sample_rate_hz, prepared.channels) == ("pcm_s16le", 44_100, 2)
    assert len(prepared.speech) == 4
    plain = await pool.prepare(source, target, pcm=None, vad=None)
    assert plain.speech is None


async def test_each_piece_is_told_once_although_the_worker_is_killed_in_between(start, tmp_path):
    """The second worker finds the same again; the pieces before its predecessor's end are known."""
    pool = await start()
    source, target = tmp_path / "minutes.wav", tmp_path / "out.f32"
    source.write_bytes(wav(tone(400, 8000), 8000))
    told = []

    def heard(piece):
        told.append(piece.decoded_s)
        if len(told) == 3:
            os.kill(pool.pids[0], signal.SIGKILL)

    prepared = await pool.prepare(source, target, vad=VadOptions(), heard=heard)
    assert told == sorted(set(told))
    assert told[-1] == prepared.duration_s == 400


async def test_large_files_never_take_the_last_worker(start, tmp_path):
    """A clip is not to wait for two long recordings: the second begins when the first has ended."""
    pool = await start(2)
    large = tmp_path / "large.wav"
    large.write_bytes(wav(tone(LARGE_BYTES / 32_000, 16_000), 16_000))
    heard: list[str] = []

    async def prepare(name: str) -> None:
        note = partial(heard.append, name)
        await pool.prepare(large, tmp_path / name, vad=VadOptions(), heard=lambda _: note())
        heard.append(f"{name} done")

    jobs = [begun(prepare("first"))]
    await until(lambda: "first" in heard)
    jobs.append(begun(prepare("second")))
    for number in range(3):
        await pool.prepare(SHORT, tmp_path / f"short{number}")
    await asyncio.gather(*jobs)
    assert heard.index("first done") < heard.index("second")


async def test_starting_does_not_wait_for_the_workers(start):
    """The router answers /health long before they are warm."""
    pool = await start(2)
    assert not pool.pids
    await pool.ready()
    assert pool.pids


async def test_silence_has_no_speech_but_is_audio(start, tmp_path):
    """An empty list is not None."""
    pool = await start()
    prepared = await pool.prepare(SAMPLES / "silence.wav", tmp_path / "out", vad=VadOptions())
    assert prepared.speech == ()
    assert prepared.duration_s == pytest.approx(5)


async def test_raw_pcm_is_prepared_by_its_hint(start, tmp_path):
    """What no header says comes with the job."""
    (tmp_path / "raw").write_bytes(bytes(48_000))
    pcm = PcmFormat(encoding=Encoding.S16BE, rate_hz=24_000, channels=1)
    prepared = await (await start()).prepare(tmp_path / "raw", tmp_path / "out", pcm=pcm)
    assert prepared.duration_s == pytest.approx(1)


async def test_typed_errors_come_back_and_leave_no_file(start, tmp_path, days):
    """Each with its class and message; the same worker serves on."""
    pool = await start(max_duration_s=600)
    await pool.ready()
    [before] = pool.pids
    (tmp_path / "text.wav").write_text("only words")
    (tmp_path / "empty").touch()
    (tmp_path / "blip.wav").write_bytes(wav(tone(0.02, 16_000), 16_000))
    target = tmp_path / "out"
    for source, expected in (
        (tmp_path / "text.wav", AudioUndecodable),
        (tmp_path / "empty", AudioTooShort),
        (tmp_path / "blip.wav", AudioTooShort),
        (days, AudioTooLong),
    ):
        with pytest.raises(expected):
            await pool.prepare(source, target, vad=VadOptions())
        target.unlink(missing_ok=True)
    assert list(pool.pids) == [before]


async def test_a_full_disk_is_storage_full(start, tmp_path):
    """ENOSPC in the worker."""
    target = tmp_path / "full"
    target.symlink_to("/dev/full")
    with pytest.raises(StorageFull):
        await (await start()).prepare(SAMPLES / "en_two_speakers_long.wav", target)


async def test_a_worker_killed_in_mid_job_costs_nobody_anything(start, tmp_path, days):
    """The job runs again on a fresh worker, another job is not disturbed."""
    pool = await start(2, max_duration_s=40 * 86_400)
    long, short = tmp_path / "long.flac", tmp_path / "short.wav"
    shutil.copy(days, long)
    shutil.copy(SHORT, short)
    target, other = tmp_path / "out", tmp_path / "other"
    job = begun(pool.prepare(long, target))
    bystander = begun(pool.prepare(days, other))
    await asyncio.gather(writing(target), writing(other))
    [victim] = [pid for pid in pool.pids if not holds(pid, days)]
    assert not job.done()
    short.replace(long)  # the second time it is done soon
    os.kill(victim, signal.SIGKILL)
    assert (await job).samples == 16_454
    assert not bystander.done()
    assert victim not in await pids(pool, but={victim}, count=2)
    bystander.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bystander


def holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    return str(path) in {file.path for file in psutil.Process(pid).open_files()}


@pytest.mark.parametrize("deadly", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_file_that_kills_its_worker_twice_is_rejected(start, tmp_path, days, deadly):
    """Not a third time; the next file is served by a fresh worker."""
    pool = await start(max_duration_s=40 * 86_400)
    target = tmp_path / "out"
    job = begun(pool.prepare(days, target))
    killed = set()
    for _ in range(2):
        [victim] = await pids(pool, but=killed, count=1)
        await until(partial(holds, victim, days))
        os.kill(victim, deadly)
        killed.add(victim)
    with pytest.raises(AudioRejected, match="decoder crashed on this file"):
        await job
    target.unlink(missing_ok=True)  # it may not have come so far
    assert (await pool.prepare(SHORT, target)).samples == 16_454


async def test_an_idle_worker_that_is_killed_is_replaced_at_once(start, tmp_path):
    """Nobody has to ask for it."""
    pool = await start()
    await pool.ready()
    [victim] = pool.pids
    os.kill(victim, signal.SIGKILL)
    await pids(pool, but={victim}, count=1)
    assert (await pool.prepare(SHORT, tmp_path / "out")).samples == 16_454


@pytest.mark.own_time
async def test_a_job_that_takes_too_long_is_ended(start, tmp_path, days):
    """Its worker is killed, it is not tried again, and the next job is served."""
    pool = await start(time_floor_s=5, time_per_mib_s=0, max_duration_s=40 * 86_400)
    await pool.ready()
    [slow] = pool.pids
    job = begun(pool.prepare(days, tmp_path / "out"))
    await writing(tmp_path / "out")
    pass_s(5)
    with pytest.raises(AudioRejected, match="takes too long to decode"):
        await job
    (tmp_path / "out").unlink(missing_ok=True)
    assert not psutil.pid_exists(slow)
    assert (await pool.prepare(SHORT, tmp_path / "out")).samples == 16_454


@pytest.mark.both_loops
async def test_a_cancelled_job_stops(start, tmp_path, days):
    """The worker does not go on decoding for nobody."""
    pool = await start(max_duration_s=40 * 86_400)
    target = tmp_path / "out"
    job = begun(pool.prepare(days, target))
    await writing(target)
    [worker] = pool.pids
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not psutil.pid_exists(worker)
    target.unlink(missing_ok=True)  # it may not have come so far
    assert (await pool.prepare(SHORT, target)).samples == 16_454


async def test_waiting_jobs_are_served_in_their_order(start, tmp_path):
    """First come, first served; one that leaves the queue is not missed."""
    pool = await start()
    served = []

    async def ask(number: int) -> None:
        await pool.prepare(SHORT, tmp_path / f"out{number}")
        served.append(number)

    jobs = []
    async with pool._lease(_Turn.LAST):
        for number in range(6):  # one after the other: threads look at their files' sizes
            jobs.append(begun(ask(number)))
            await until(lambda wanted=number + 1: len(pool._waiting) == wanted)
        jobs[2].cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert served == [0, 1, 3, 4, 5]


async def test_jobs_run_side_by_side_on_several_workers(start, tmp_path, days):
    """A long file does not hold up the others."""
    pool = await start(2, max_duration_s=40 * 86_400)
    long = begun(pool.prepare(days, tmp_path / "long"))
    await writing(tmp_path / "long")
    assert (await pool.prepare(SHORT, tmp_path / "short")).samples == 16_454
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_closing_ends_running_and_waiting_jobs(start, tmp_path, days):
    """Both get ShuttingDown, and no worker is left."""
    pool = await start(max_duration_s=40 * 86_400)
    running = begun(pool.prepare(days, tmp_path / "out"))
    await writing(tmp_path / "out")
    waiting = begun(pool.prepare(SHORT, tmp_path / "out2"))
    [worker] = pool.pids
    await asyncio.sleep(0)
    await pool.close()
    for job in (running, waiting, begun(pool.prepare(SHORT, tmp_path / "out3"))):
        with pytest.raises(ShuttingDown):
            await job
    assert not psutil.pid_exists(worker)
    (tmp_path / "out").unlink(missing_ok=True)


async def test_workers_that_cannot_start_are_told_and_tried_again(start, tmp_path):
    """503 with the reason; not a crash loop, not a wait for ever."""
    pool = await start(memory_bytes="much")
    for _ in range(2):
        with pytest.raises(MediaFailed, match="invalid int value"):
            await pool.prepare(SHORT, tmp_path / "out")


async def test_a_worker_that_is_just_being_ended_is_gone_when_the_pool_is_closed(start, tmp_path):
    """Its keeper, which waits for that, is cancelled."""
    pool = await start(memory_bytes="much")
    with pytest.raises(MediaFailed):
        await pool.prepare(SHORT, tmp_path / "out")
    ending = psutil.Process().children()  # none, if it was quick
    await pool.close()
    assert not [worker for worker in ending if worker.is_running()]


async def test_a_machine_without_descriptors_is_waited_out(start, tmp_path):
    """The worker is replaced as soon as that is possible; until then requests get their 503."""
    pool = await start()
    await pool.ready()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # those that are open stay open
    try:
        os.kill(pool.pids[0], signal.SIGKILL)
        while pool.pids:  # noqa: ASYNC110 - the pool sets no event
            await asyncio.sleep(0.005)
        with pytest.raises(MediaFailed, match="could be started"):
            await pool.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    while True:
        with contextlib.suppress(MediaFailed):
            await pool.prepare(SHORT, tmp_path / "out")
            return


@pytest.mark.both_loops
async def test_a_storm_of_cancellations_and_kills_leaves_a_working_pool(start, tmp_path):
    """Two seconds of everything at once: no job hangs, no worker or file is lost."""
    pool = await start(3)
    await pool.ready()
    source = SAMPLES / "en_two_speakers_long.wav"
    good = 0

    async def customer(number: int) -> None:
        nonlocal good
        for turn in range(8):
            patience_s = 0.02 * ((number * 7 + turn * 3) % 11) or None
            target = tmp_path / f"{number}-{turn}"
            try:
                with contextlib.suppress(TimeoutError, AudioRejected):
                    async with asyncio.timeout(patience_s):
                        await pool.prepare(source, target)
                        good += 1
            finally:
                target.unlink(missing_ok=True)  # nobody makes it again

    async def killer() -> None:
        for turn in range(20):
            await asyncio.sleep(0.1)
            if pool.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pool.pids[turn % len(pool.pids)], signal.SIGKILL)

    async with asyncio.TaskGroup() as group:
        group.create_task(killer())
        for number in range(6):
            group.create_task(customer(number))
    assert good
    await pids(pool, but=set(), count=3)
    assert (await pool.prepare(SHORT, tmp_path / "last")).samples == 16_454
    (tmp_path / "last").unlink()
    assert list(tmp_path.iterdir()) == []
