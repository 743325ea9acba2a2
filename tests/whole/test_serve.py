"""A real server under real signals: stopping, dying, clients that leave, workers that die."""

import asyncio
import contextlib
import queue
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import psutil
import pytest

from support.client import ask, session, state_of
from support.engine_processes import worker_at_work
from support.freed import until_none
from support.processes import begun, gone
from support.server import environment, running_server
from support.speech import joined

DEMO = 'default_model = "demo"\n'
LIMIT_S = 30


@pytest.fixture(scope="module")
def long_wav(samples, tmp_path_factory) -> Path:
    """Ten minutes of speech: about ten seconds of work in one piece."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    return joined(path, *[samples["en_two_speakers_long.wav"]["path"]] * 10, silence_s=0)


def cpu_s(process: psutil.Process) -> float:
    """Return the time computed so far; nothing is computed by a process that is gone."""
    try:
        return process.cpu_times().user
    except psutil.NoSuchProcess:
        return 0.0


async def test_a_client_that_leaves_frees_the_only_worker(tmp_path, samples, long_wav):
    """The next request does not wait for an answer that nobody will read."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            abandoned = begun(ask(http, server.url, long_wav, vad="false"))
            worker = await asyncio.to_thread(worker_at_work, server)
            abandoned.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await abandoned
            used = cpu_s(worker)
            _, answer = await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
            assert answer["text"] == "hello world"
            assert cpu_s(worker) - used < 2, "the long file went on"
        await until_none(tmp_path, "*.f32")


async def test_a_killed_worker_costs_nothing_but_time(tmp_path, samples, long_wav):
    """The request that it served is answered as if nothing had happened."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            path = samples["en_two_speakers_long.wav"]["path"]
            running = begun(ask(http, server.url, path, vad="false"))
            worker = await asyncio.to_thread(worker_at_work, server)
            worker.kill()
            status, answer = await running
            server.wait_for_log("chunk_interrupted")
            _, undisturbed = await ask(http, server.url, path, vad="false")
            assert (status, answer) == (200, undisturbed)


async def test_a_stop_signal_lets_the_running_request_finish(tmp_path, samples):
    """SIGTERM: the answer arrives, then the process ends with 0 and leaves nothing running."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            path = samples["en_two_speakers_long.wav"]["path"]
            running = begun(ask(http, server.url, path))
            await asyncio.to_thread(worker_at_work, server)
            children = server.descendants()
            server.process.send_signal(signal.SIGTERM)
            status, answer = await running
            assert status == 200
            assert answer["text"].startswith("hello world alpha bravo")
            assert await asyncio.to_thread(server.process.wait, 20) == 0
            assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]
        assert not [path for path in tmp_path.rglob("run-*") if path.is_dir()]


async def test_no_orphan_survives_a_killed_router(tmp_path, samples):
    """SIGKILL: engines and media workers end by themselves. (How soon: `make chaos`.)"""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
        children = server.descendants()
        assert len(children) >= 3
        server.stop(signal.SIGKILL)
        alive = psutil.wait_procs(children, timeout=LIMIT_S)[1]
        assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    with running_server(tmp_path, config=DEMO) as server:
        leftovers = [path for path in tmp_path.rglob("run-*") if path.is_dir()]
        assert len(leftovers) == 1, "the directory of the killed run was swept"
        assert str(server.pid) in leftovers[0].name


async def test_an_idle_engine_is_unloaded_and_comes_back(tmp_path, samples):
    """Memory is freed; the next request starts the engine again."""
    config = DEMO + "[supervision]\nidle_unload_s = 0.2\n"
    with running_server(tmp_path, config=config) as server:
        async with session() as http:
            path = samples["en_hello_gb.wav"]["path"]
            assert (await ask(http, server.url, path))[1]["text"] == "hello world"
            idle = await asyncio.to_thread(server.wait_for_log, "engine_idle")
            async with asyncio.timeout(LIMIT_S):
                await gone(idle["pid"])
            assert (await ask(http, server.url, path))[1]["text"] == "hello world"


async def test_a_broken_model_file_is_named_and_harms_no_other_alias(tmp_path, samples):
    """One alias cannot start; the error says why; the other one answers."""
    (tmp_path / "broken.bin").write_bytes(b"this is no model" * 1000)
    config = DEMO + f'[models.broken]\npath = "{tmp_path}/broken.bin"\n'
    with running_server(tmp_path, config=config) as server:
        async with session() as http:
            path = samples["en_hello_gb.wav"]["path"]
            status, answer = await ask(http, server.url, path, model="broken")
            assert status == 503
            assert answer["error"]["code"] == "engine_start_failed"
            assert "broken.bin" in answer["error"]["message"]
            status, answer = await ask(http, server.url, path, model="demo")
            assert (status, answer["text"]) == (200, "hello world")


async def test_keys_are_asked_for_everywhere_but_at_the_probes(tmp_path):
    """API_KEY closes the API; orchestrators can still look."""
    with running_server(tmp_path, config=DEMO, env={"API_KEY": "s3cret"}) as server:
        async with session() as http:

            async def status(path: str, **headers: str) -> int:
                async with http.get(server.url + path, headers=headers) as response:
                    return response.status

            assert await status("/v1/models") == 401
            assert await status("/v1/models", Authorization="Bearer wrong") == 401
            assert await status("/v1/models", Authorization="Bearer s3cret") == 200
            assert await status("/v1/models", **{"x-api-key": "s3cret"}) == 200
            assert await status("/health") == 200
            assert await status("/ready") == 200
        assert "s3cret" not in str(server.log)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('[server]\nhost = "0.0.0.0"\n', "refusing to listen on 0.0.0.0 without a key"),
        ("[wyoming]\nuri = 'tcp://0.0.0.0:0'\n", "Set wyoming.insecure_lan = true"),
        ("[wyoming]\nuri = 'tcp://127.0.0.1'\n", "neither tcp://HOST:PORT nor unix:///PATH"),
        ("[wyoming]\nuri = 'unix:///x'\nzeroconf = true\n", "needs a TCP address"),
        ("[wyoming]\nuri = 'unix:///no/such/x'\n", "cannot listen on unix:///no/such/x"),
        ("[models.x]\nmodel = 'tiny'\nthreds = 1\n", "did you mean 'threads'?"),
        ("[models.x]\nmodel = 'tinny'\n", "'tinny' is not in the catalogue"),
        ("[models.x]\nmodel = 'tiny'\nengine = 'nope'\n", "no engine 'nope' is installed"),
        ("[models.x]\nrepo = 'a/b'\nfile = '../c.bin'\n", "models.x: 'a/b/../c.bin' cannot be"),
        ("[models.x]\nrepo = '..'\nfile = 'c.bin'\n", "models.x.repo: '..' is not OWNER/NAME"),
        ("[models.x]\nurl = 'file:///etc/passwd'\n", "models.x.url: not an http(s) address"),
        ("[models.x]\nurl = 'http://[::1'\n", "models.x.url: not an http(s) address"),
        ("[models.x]\nurl = 'http://h/f'\nsha256 = 'abc'\n", "64 hexadecimal digits"),
        ("[models.x]\nmodel = 'tiny'\ntemperature_increment = 1e-9\n", "at least 0.01"),
    ],
)
def test_what_cannot_work_ends_the_start_with_a_sentence(tmp_path, config, message):
    """Exit code 2, one message, no traceback."""
    path = tmp_path / "router.toml"
    path.write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "whisper_router.cli", "serve", "--config", str(path)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_directory_that_cannot_be_used_ends_the_start_with_a_sentence(tmp_path):
    """As any place that the configuration names."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "whisper_router.cli", "serve"],
        env=environment(tmp_path) | {"RUNTIME_DIRECTORY": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "the run directory cannot be used" in done.stderr


def test_the_service_manager_is_told(tmp_path):
    """READY once it listens, WATCHDOG while it runs, STOPPING at the end (sd_notify)."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT_S)

        def read() -> None:  # all the time: the system keeps no more than ten for later
            while not (message := manager.recv(200).decode()).startswith("STOPPING"):
                told.put(message)
            told.put(message)

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
            with running_server(tmp_path, config=DEMO, env=env) as server:
                seen: list[str] = []
                while "WATCHDOG=1" not in seen or "READY=1" not in seen or len(seen) < 5:
                    seen.append(told.get(timeout=LIMIT_S))
                assert server.stop() == 0
                while seen[-1] != "STOPPING=1":
                    seen.append(told.get(timeout=LIMIT_S))
            reading.result()


@pytest.mark.parametrize(
    ("route", "fields", "param"),
    [("translations", {}, "model"), ("transcriptions", {"language": "de"}, "language")],
)
async def test_an_english_model_refuses_other_languages_before_it_is_fetched(
    tmp_path, samples, route, fields, param
):
    """The contract's 400 `unsupported_value`, although the model's file is not here."""
    with running_server(tmp_path) as server:
        form = aiohttp.FormData({"model": "tiny.en", **fields})
        form.add_field("file", samples["de_digits.wav"]["path"].read_bytes(), filename="a.wav")
        async with (
            session() as http,
            http.post(f"{server.url}/v1/audio/{route}", data=form) as answer,
        ):
            error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "unsupported_value", param)


async def test_silence_starts_no_engine(tmp_path, samples):
    """Nothing is said, nothing is decoded, nothing is invented."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            status, answer = await ask(http, server.url, samples["silence.wav"]["path"])
            assert (status, answer["text"]) == (200, "")
            assert (await state_of(http, server.url, "demo"))["state"] == "stopped"
            await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
            assert (await state_of(http, server.url, "demo"))["state"] == "ready"
