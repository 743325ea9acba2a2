"""Sessions live as long as somebody needs them."""

import asyncio
import socket

import pytest

from support.processes import begun
from support.program_engine import ProgramEngine, TcpProgramEngine, ask
from whisper_router.engine_api import Endpoint, EndpointKind
from whisper_router.supervisor.connection import Connection, open_session
from whisper_router.tasks import Tasks


def connection(tmp_path, tasks: Tasks) -> Connection:
    endpoint = Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=tmp_path / "e.sock")
    return Connection(endpoint, open_session(endpoint), tasks=tasks)


async def closed(made: Connection) -> None:
    while not made.http.closed:  # noqa: ASYNC110 - a session sets no event
        await asyncio.sleep(0)


async def test_a_session_nobody_uses_is_closed_with_its_process(tmp_path):
    """Nothing is left open."""
    tasks = Tasks()
    made = connection(tmp_path, tasks)
    await made.retire()
    assert made.http.closed
    await tasks.close()


async def test_a_session_in_use_is_closed_by_its_last_user(tmp_path):
    """A lease on a dead process still has a session, until it ends."""
    tasks = Tasks()
    made = connection(tmp_path, tasks)
    made.hold()
    made.hold()
    await made.retire()
    made.drop()
    assert not made.http.closed
    made.drop()
    async with asyncio.timeout(15):
        await closed(made)
    await tasks.close()


async def test_an_unused_drop_before_the_end_closes_nothing(tmp_path):
    """Leases come and go while the process lives."""
    tasks = Tasks()
    made = connection(tmp_path, tasks)
    made.hold()
    made.drop()
    assert not made.http.closed
    async with asyncio.timeout(15):
        await begun(made.retire())
    await tasks.close()


@pytest.mark.parametrize("engine", [ProgramEngine(), TcpProgramEngine()], ids=["unix", "tcp"])
async def test_a_proxy_of_the_environment_is_not_asked_for_an_engine(
    make_process, monkeypatch, engine
):
    """It would hear the audio, and could not reach our loopback either."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        process = make_process(engine=engine)
        async with asyncio.timeout(15):
            await process.ensure_ready()
            link = process.serving()
            assert await ask(link.http, link.endpoint) == " hello"
        with pytest.raises(BlockingIOError):
            proxy.accept()
