"""`whisper-router bench` against a real server: figures, errors, an interruption."""

import asyncio
import json
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from support.api_app import GOOD, HELD, LATE_CRASH, NO_START, Setup, sample, sample_path, serve_api
from support.certificates import make_certificate
from support.server import environment
from whisper_router.api.certificates import Certificates
from whisper_router.api.key_source import FixedKeys
from whisper_router.commands import bench as bench_module
from whisper_router.commands.bench import bench
from whisper_router.commands.bench_order import BenchOrder
from whisper_router.errors import (
    ConfigurationError,
    EngineError,
    InvalidRequest,
    RouterError,
    Unavailable,
)

CLIP = sample_path("en_three_segments.wav")
KEY = "the-key-of-the-bench"


def make_order(url: str, **changes: object) -> BenchOrder:
    usual: dict[str, object] = {
        "certificate": None,
        "api_key": None, "model": GOOD, "files": (CLIP,), "seconds": None, "concurrency": (1,),
        "requests": 4, "duration_s": None, "response_format": "json", "language": None,
        "stream": False, "warmup": 1, "timeout_s": 60.0, "as_json": True,
    }  # fmt: skip
    return BenchOrder(url=url, **{**usual, **changes})


@pytest.fixture(autouse=True)
def quiet():
    """The server of these tests runs in the same process, and stdout is the command's."""
    with capture_logs():
        yield


@pytest.fixture
async def api(tmp_path):
    """Our API before a recogniser that needs no time."""
    async with serve_api(tmp_path / "spool", Setup()) as running:
        yield running


async def figures(capsys, order: BenchOrder) -> tuple[int, list[dict]]:
    code = await bench(order)
    return code, json.loads(capsys.readouterr().out)


async def test_each_concurrency_is_a_row(api, capsys):
    """Of so many requests, the warm-up not counted."""
    code, rows = await figures(capsys, make_order(api.base_url, concurrency=(1, 3), requests=5))
    assert code == 0
    assert [(row["concurrency"], row["requests"], row["failed"]) for row in rows] == [
        (1, 5, 0),
        (3, 5, 0),
    ]
    for row in rows:
        assert row["audio_s"] == pytest.approx(5 * sample(CLIP.name)["seconds"], abs=0.1)
        assert 0 < row["latency_s"]["p50"] <= row["latency_s"]["max"] <= row["took_s"]
        assert row["rtf"]["max"] == pytest.approx(row["latency_s"]["max"] / 6.92, rel=0.01)
        assert row["first_text_s"] is None
    assert len(api.recogniser.requests) == 11


async def test_a_server_of_ours_is_known_by_its_certificate(tmp_path, capsys):
    """Whoever signed it, and whatever name it is for; another one's is refused."""
    made, other = make_certificate(tmp_path, of="stt.lan"), make_certificate(tmp_path, "two")
    pair = Certificates(made.certificate, made.key)
    async with serve_api(tmp_path / "spool", Setup(certificates=pair)) as api:
        order = make_order(api.base_url, certificate=made.certificate, requests=1)
        code, _ = await figures(capsys, order)
        assert code == 0
        for wrong in (None, other.certificate):
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await bench(make_order(api.base_url, certificate=wrong))
        with pytest.raises(ConfigurationError, match=r"server\.tls_cert: .*No such file"):
            await bench(make_order(api.base_url, certificate=tmp_path / "none.pem"))


async def test_a_row_may_last_for_some_time_instead(api, capsys, monkeypatch):
    """What has begun by then is waited for. (An hour is over once the fifth request is there.)"""
    passed = 0.0

    async def pass_the_time(_model: str) -> None:
        nonlocal passed
        if len(api.recogniser.requests) >= 5:
            passed = 3600.0

    real_clock = time.perf_counter
    clock = SimpleNamespace(perf_counter=lambda: real_clock() + passed)
    monkeypatch.setattr(bench_module, "time", clock)
    monkeypatch.setattr(api.recogniser, "_misbehave", pass_the_time)
    order = make_order(api.base_url, duration_s=3600.0, concurrency=(2,), response_format="srt")
    code, (row,) = await figures(capsys, order)
    assert code == 0
    assert row["requests"] in {4, 5}  # and one to warm up, and who was still asking
    assert row["took_s"] >= 3600


async def test_a_stream_is_timed_to_its_first_text(api, capsys):
    """Which comes before the end."""
    _, (row,) = await figures(capsys, make_order(api.base_url, stream=True))
    assert 0 < row["first_text_s"]["p50"] <= row["latency_s"]["max"]


async def test_errors_in_a_stream_are_errors(api, capsys):
    """Although the status was 200 by then."""
    with pytest.raises(EngineError, match="ended before"):
        await bench(make_order(api.base_url, model=LATE_CRASH, stream=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"model": "nowhere"}, EngineError, "404: .*nowhere"),
        ({"api_key": "wrong"}, EngineError, "401: "),
        ({"model": NO_START, "api_key": KEY}, EngineError, "503: "),
        ({"url": "http://127.0.0.1:9"}, Unavailable, "127.0.0.1:9"),
        ({"model": HELD, "timeout_s": 0.05, "api_key": KEY}, Unavailable, "--timeout"),
        ({"files": (CLIP.with_name("none.wav"),)}, InvalidRequest, "none.wav"),
    ],
    ids=["model", "key", "start", "nobody", "late", "file"],
)
async def test_what_is_of_no_use_is_told_at_once(tmp_path, capsys, changes, kind, text):
    """By the first request, before there is any table."""
    setup = Setup(keys=FixedKeys([KEY]))
    async with serve_api(tmp_path / "spool", setup) as api:
        usual = {"url": api.base_url, "api_key": KEY, "requests": 1000}
        with pytest.raises(RouterError, match=text) as refusal:
            await bench(make_order(**{**usual, **changes}))
    assert isinstance(refusal.value, kind)
    assert capsys.readouterr().out == ""


async def test_what_fails_later_is_counted_and_the_exit_code_says_so(tmp_path, capsys):
    """A file that is refused among others."""
    broken = tmp_path / "other.wav"
    data = bytearray(CLIP.read_bytes())
    data[-100:] = bytes(range(100))  # audio, but none that this recogniser knows
    broken.write_bytes(data)
    async with serve_api(tmp_path / "spool", Setup()) as api:
        order = make_order(api.base_url, files=(CLIP, broken), requests=6, concurrency=(2,))
        code, (row,) = await figures(capsys, order)
    assert code == 1
    assert (row["requests"], row["failed"]) == (6, 3)
    assert sum(row["errors"].values()) == 3


async def test_a_server_that_has_gone_ends_it(tmp_path, capsys, monkeypatch):
    """What was measured is printed; nobody asks as fast as it can until the time is over."""
    monkeypatch.setattr(bench_module, "PAUSE_S", 0.05)
    monkeypatch.setattr(bench_module, "GONE_S", 0.2)
    async with (
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
        serve_api(tmp_path / "spool", Setup()) as api,
    ):
        order = make_order(api.base_url, duration_s=600.0, concurrency=(2, 3))
        measuring = group.create_task(figures(capsys, order))
        while len(api.recogniser.requests) < 4:  # noqa: ASYNC110 - an event per request is none
            await asyncio.sleep(0)
    code, (row,) = measuring.result()
    assert code == 1
    assert row["requests"] - row["failed"] >= 3
    assert row["errors"]["ClientConnectorError"] < 20
    assert row["took_s"] < 10


async def test_an_interruption_prints_what_was_measured(api, capsys, monkeypatch):
    """Exit code 130; the rows that have not begun are left out."""
    order = make_order(api.base_url, concurrency=(1, 2), requests=3, warmup=1)

    async def hold_the_third(_model: str) -> None:
        if len(api.recogniser.requests) == 3:
            api.recogniser.reached.set()
            await api.recogniser.release.wait()

    async def interrupt_later() -> None:
        await api.recogniser.reached.wait()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(api.recogniser, "_misbehave", hold_the_third)
    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(bench(order))
        group.create_task(interrupt_later())
    assert measuring.result() == 130
    (row,) = json.loads(capsys.readouterr().out)
    assert row["requests"] == 1


async def test_the_command_prints_a_table(api, tmp_path):
    """With the bundled recordings, through the shell."""
    command = [sys.executable, "-m", "whisper_router.cli", "bench", "--url", api.base_url]
    command += ["--model", GOOD, "--requests", "3", "--concurrency", "1,2", "--format", "text"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    heads, *rows = output.decode().splitlines()
    assert process.returncode == 0
    assert heads.split()[:3] == ["at", "once", "requests"]
    assert [row.split()[:3] for row in rows] == [["1", "3", "0"], ["2", "3", "0"]]
