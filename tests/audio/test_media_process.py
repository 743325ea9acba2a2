"""One worker process as the router sees it."""

import asyncio

import psutil
import pytest

from support.audio_files import SAMPLES
from whisper_router.audio.media import Heard, MediaLimits, VadOptions
from whisper_router.audio.media_process import Job, MediaProcess, WorkerLostError
from whisper_router.errors import AudioTooLong, MediaFailed
from whisper_router.tasks import Tasks

WAIT_S = 30


@pytest.fixture
async def tasks():
    """Their owner."""
    tasks = Tasks()
    yield tasks
    await tasks.close()


def ignore(_: Heard) -> None:
    """Wait for the whole."""


def job(tmp_path, name="en_hello_gb.wav", vad=None) -> Job:
    source = SAMPLES / name
    return Job(source=source, target=tmp_path / "out", pcm=None, vad=vad)


@pytest.mark.both_loops
async def test_a_worker_lives_on_after_answers_and_errors(tasks, tmp_path):
    """Only a worker that did not answer is ended."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(max_duration_s=30), tasks)
        await worker.ready()
        prepared = await worker.run(job(tmp_path, vad=VadOptions()), size_bytes=1, heard=ignore)
        assert (prepared.samples, len(prepared.speech)) == (16_454, 1)
        with pytest.raises(AudioTooLong):
            await worker.run(job(tmp_path, "en_two_speakers_long.wav"), size_bytes=1, heard=ignore)
        assert worker.is_usable
        assert (await worker.run(job(tmp_path), size_bytes=1, heard=ignore)).speech is None
        await worker.end()
    assert not worker.is_usable
    assert worker.ending() == "Killed"
    assert not psutil.pid_exists(worker.pid)


async def test_a_worker_that_is_killed_in_a_job_is_lost(tasks, tmp_path):
    """Its end of file is told at once."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(), tasks)
        await worker.ready()
        psutil.Process(worker.pid).kill()
        with pytest.raises(WorkerLostError):
            await worker.run(job(tmp_path), size_bytes=1, heard=ignore)
        assert not worker.is_usable


@pytest.mark.both_loops
async def test_a_worker_whose_pipe_is_closed_already_is_lost(tasks, tmp_path):
    """The loop may have seen its end in the moment before it gets a job."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(), tasks)
        await worker.ready()
        psutil.Process(worker.pid).kill()
        while not worker._process.stdin.is_closing():  # noqa: ASYNC110 - a pipe sets no event
            await asyncio.sleep(0.005)
        await worker.exited()
        for _ in range(10):  # uvloop closes it in several steps, and refuses writes after the last
            await asyncio.sleep(0)
        with pytest.raises(WorkerLostError):
            await worker.run(job(tmp_path), size_bytes=1, heard=ignore)


async def test_a_worker_that_cannot_start_says_why(tasks):
    """The last line of its stderr is in the message."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(max_duration_s=float("nan")), tasks)
        await worker.end()
        hopeless = await MediaProcess.start(MediaLimits(memory_bytes="much"), tasks)
        with pytest.raises(WorkerLostError, match="invalid int value: 'much'"):
            await hopeless.ready()
        await hopeless.exited()
    assert hopeless.ending() == "exit 2"


async def test_a_worker_that_is_slow_to_start_is_given_up(tasks):
    """In its own time."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(start_timeout_s=0.001), tasks)
        with pytest.raises(TimeoutError):
            await worker.ready()
        await worker.end()


async def test_no_secret_of_the_router_reaches_a_worker(tasks, monkeypatch):
    """Keys in the environment are none of a decoder's business."""
    monkeypatch.setenv("API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(), tasks)
        await worker.ready()
        environment = psutil.Process(worker.pid).environ()
        await worker.end()
    assert "secret" not in environment.values()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


async def test_a_missing_source_is_the_servers_fault(tasks, tmp_path):
    """503, not 400."""
    async with asyncio.timeout(WAIT_S):
        worker = await MediaProcess.start(MediaLimits(), tasks)
        await worker.ready()
        absent = Job(source=tmp_path / "absent", target=tmp_path / "out", pcm=None, vad=None)
        with pytest.raises(MediaFailed, match="No such file"):
            await worker.run(absent, size_bytes=1, heard=ignore)
        await worker.end()
