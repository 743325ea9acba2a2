"""The plugin with real worker processes, beyond what the conformance suite asks."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace

import psutil
import pytest

from support.speech import DEMO_MODEL, sample
from whisper_router.domain import Lane, Segment, TranscriptionRequest
from whisper_router.engine_api import Endpoint, EndpointKind, WorkerStarted
from whisper_router.errors import ConfigurationError, EngineRejected
from whisper_router.testing.harness import Running, running, start_error, write_spool
from whisper_router_engines.whispercpp.cores import physical_cores
from whisper_router_engines.whispercpp.engine import WhisperCpp
from whisper_router_engines.whispercpp.options import Acceleration, WhisperCppOptions

pytestmark = pytest.mark.alone

ENGINE = WhisperCpp()
REQUEST = TranscriptionRequest(model="demo", language="en")
BACK_S = 0.1


async def segments(process: Running, folder, request=REQUEST) -> list[Segment]:
    chunk = write_spool(sample("en_call_sign").path, folder / "speech.f32")
    async with asyncio.timeout(30):
        events = ENGINE.transcribe(process.http, process.endpoint, chunk, request)
        return [event async for event in events if isinstance(event, Segment)]


async def heard(process: Running, folder) -> str:
    return "".join([found.text for found in await segments(process, folder)]).strip()


def children(process: Running) -> set[int]:
    return {child.pid for child in psutil.Process(process.process.pid).children()}


def test_the_router_side_imports_nothing_heavy():
    """Router memory and start time are features: numpy and whisper.cpp stay out."""
    program = (
        "import sys, whisper_router_engines.whispercpp.engine\n"
        "sys.exit(', '.join({'numpy', '_pywhispercpp', 'av'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize(
    ("acceleration", "workers", "processes"),
    [(Acceleration.AUTO, 3, 1), (Acceleration.NONE, 3, 1), (Acceleration.VULKAN, 1, 3)],
)
def test_workers_share_a_process_on_the_cpu_only(acceleration, workers, processes):
    """With a GPU by name each worker is a process of the pool."""
    endpoint = Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=DEMO_MODEL)
    options = WhisperCppOptions(workers=3, threads=2, acceleration=acceleration)
    launch = ENGINE.launch(DEMO_MODEL, options, endpoint)
    assert (launch.workers, launch.processes) == (workers, processes)
    assert launch.env["OMP_WAIT_POLICY"] == "passive"
    assert 0 < int(launch.env["GOMP_SPINCOUNT"]) < 1000
    assert launch.env["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_all_workers_together_have_no_more_threads_than_there_are_cores(workers):
    """But one each: oversubscribed workers are slower than fewer of them."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions(workers=workers)) as process:
        threads = int(process.ready.details["threads"])
    assert threads >= 1
    assert threads * workers <= max(physical_cores(), workers)


def test_metal_is_refused_off_the_mac():
    """This cannot work on this machine, so it is a configuration error."""
    endpoint = Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=DEMO_MODEL)
    options = WhisperCppOptions(acceleration=Acceleration.METAL)
    with pytest.raises(ConfigurationError, match="metal"):
        ENGINE.launch(DEMO_MODEL, options, endpoint)


async def test_a_named_accelerator_that_is_not_there_is_a_start_error():
    """It says what was asked for and what is there."""
    options = WhisperCppOptions(acceleration=Acceleration.CUDA)
    said = await start_error(ENGINE, DEMO_MODEL, options)
    assert said.startswith("error: acceleration = 'cuda'")
    assert "only the CPU" in said


async def test_health_says_what_was_asked_for_and_what_is_in_effect():
    """`auto` fell back to the CPU here, and the details say so."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions()) as process:
        assert process.ready.accelerator == "cpu"
        assert process.ready.details["acceleration_requested"] == "auto"
        assert process.ready.details["whisper_cpp"].startswith("1.8")
        assert len(process.ready.languages) == 99
        assert process.endpoint.socket is not None
        assert process.endpoint.socket.stat().st_mode & 0o077 == 0


async def test_a_language_that_the_model_does_not_know_names_the_parameter(tmp_path):
    """So the API's answer does, too."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions()) as process:
        chunk = write_spool(sample("en_call_sign").path, tmp_path / "speech.f32")
        request = TranscriptionRequest(model="demo", language="yue")
        with pytest.raises(EngineRejected) as caught:
            async for _ in ENGINE.transcribe(process.http, process.endpoint, chunk, request):
                pass
    assert (caught.value.param, caught.value.code) == ("language", "unsupported_value")


async def test_a_fitted_encoder_is_asked_for_by_an_option_and_a_live_request(tmp_path):
    """The words are the same, their probabilities not quite: it has not heard the silence."""
    live = replace(REQUEST, lane=Lane.LIVE)
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions(live_audio_ctx="fitted")) as process:
        (filed,), (streamed,) = (
            await segments(process, tmp_path),
            await segments(process, tmp_path, live),
        )
    assert filed.text == streamed.text == f" {sample('en_call_sign').text}"
    assert filed.avg_logprob != streamed.avg_logprob
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions()) as process:
        assert await segments(process, tmp_path) == await segments(process, tmp_path, live)


async def test_a_killed_worker_is_back_within_100_ms(tmp_path):
    """A fork of the loaded model, not a reload; the best of five on a busy machine."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions(workers=2)) as process:
        took = []
        for _ in range(5):
            before = children(process)
            os.kill(max(before), signal.SIGKILL)
            begin = time.monotonic()
            while len(children(process) - before) < 1:
                assert time.monotonic() - begin < 10
            took.append(time.monotonic() - begin)
        assert min(took) < BACK_S
        assert await heard(process, tmp_path) == "seven alpha blue nine"


async def test_a_client_that_leaves_a_long_file_frees_its_worker(tmp_path):
    """The computation is aborted, and the only worker serves the next chunk at once."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions()) as process:
        spoken = sample("en_two_speakers_long")
        long = write_spool(spoken.path, tmp_path / "long.f32", repeat=4)
        stream = ENGINE.transcribe(process.http, process.endpoint, long, REQUEST)
        async with asyncio.timeout(30), aclosing(stream) as events:
            assert isinstance(await anext(events), WorkerStarted)
            async for event in events:
                if isinstance(event, Segment):
                    break
        begin = time.monotonic()
        assert await heard(process, tmp_path) == "seven alpha blue nine"
        assert time.monotonic() - begin < 3.0


async def test_workers_run_at_the_same_time(tmp_path):
    """Two chunks are taken by two workers."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions(workers=2, threads=1)) as process:
        long = write_spool(sample("en_call_sign").path, tmp_path / "long.f32", repeat=100)
        pids = set()
        async with asyncio.timeout(30):
            one = ENGINE.transcribe(process.http, process.endpoint, long, REQUEST)
            two = ENGINE.transcribe(process.http, process.endpoint, long, REQUEST)
            async with aclosing(one) as first, aclosing(two) as second:
                for events in (first, second):
                    started = await anext(events)
                    assert isinstance(started, WorkerStarted)
                    pids.add(started.pid)
        assert pids == children(process)


async def test_no_process_is_left_after_sigterm():
    """The keeper ends its workers first and removes nothing that is not its own."""
    async with running(ENGINE, DEMO_MODEL, WhisperCppOptions(workers=3)) as process:
        family = [psutil.Process(pid) for pid in children(process)]
        process.process.terminate()
        assert await process.ended() == 0
        assert not any(member.is_running() for member in family)
