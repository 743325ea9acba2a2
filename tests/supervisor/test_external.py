"""The stand-in for a server that is not ours, with a real server that is there or not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from support.held_port import held_port
from whisper_router.engine_api import Endpoint, EndpointKind, ReadyInfo
from whisper_router.errors import EngineCrashed, EngineStartFailed
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.standing import FAILURES_IN_A_ROW
from whisper_router.tasks import Tasks

WAIT_S = 10
INFO = ReadyInfo(accelerator="remote", languages=frozenset({"en"}))


@dataclass
class Server:
    """Says whether it is there, and is not always."""

    status: int = 200
    port: int = 0
    asked: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    is_silent: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.put_nowait(None)
        if self.is_silent:
            await self.release.wait()
        return web.Response(status=self.status)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/models", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, reuse_port=bool(self.port)).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()


class Broken(Exception):
    """A plugin may have bugs."""


async def is_ready(http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
    async with http.get(f"{endpoint.url}/models") as response:
        if response.status == 401:
            raise EngineStartFailed("it refuses our key")
        if response.status == 418:
            raise Broken
        return INFO if response.status == 200 else None


@dataclass
class Watched:
    """An `External`, and the states it has had."""

    external: External
    states: asyncio.Queue[State]

    async def reach(self, state: State) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.external.state is not state:
                await self.states.get()


@pytest.fixture
def port() -> Iterator[int]:
    """Where a server may listen that goes away and comes back."""
    with held_port() as port:
        yield port


@pytest.fixture
async def watch():
    """Make one for a server, with a short interval between two checks."""
    tasks = Tasks()
    made: list[External] = []

    def make(server: Server, *, check_every_s: float = 0.05) -> Watched:
        states: asyncio.Queue[State] = asyncio.Queue()
        external = External(
            Endpoint(kind=EndpointKind.TCP, url=f"http://127.0.0.1:{server.port}"),
            alias="test",
            tasks=tasks,
            is_ready=is_ready,
            on_change=lambda: states.put_nowait(external.state),
            check_every_s=check_every_s,
        )
        made.append(external)
        return Watched(external, states)

    yield make
    for external in made:
        await external.close()
    await tasks.close()


async def test_to_start_it_is_to_ask_it(watch):
    """Nothing is asked before somebody wants it."""
    server = Server()
    async with server.listening():
        watched = watch(server)
        external = watched.external
        assert external.serving() is None
        assert server.asked.empty()
        external.start()
        assert external.state is State.STARTING
        await watched.reach(State.READY)
        assert external.ready == INFO
        assert external.starts == 1
        connection = external.serving()
        assert connection is not None
        assert connection.endpoint.url == external.url


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "is not ready"), (401, "refuses our key"), (418, "Broken")]
)
async def test_a_server_that_does_not_serve_says_why(watch, status, reason):
    """To the first who waits for it."""
    server = Server(status=status)
    async with server.listening():
        watched = watch(server)
        watched.external.start()
        await watched.reach(State.STOPPED)
        assert reason in str(watched.external.start_failure)
        assert watched.external.failed_starts == 1


async def test_nobody_there_is_put_aside_and_comes_back_when_asked(watch, port):
    """The reason names the address."""
    server = Server(port=port)
    watched = watch(server)
    external = watched.external
    external.start()
    await watched.reach(State.STOPPED)
    assert f"http://127.0.0.1:{server.port} cannot be reached" in str(external.start_failure)
    async with server.listening():
        external.start()
        await watched.reach(State.READY)
        assert external.start_failure is None


async def test_a_server_that_goes_away_is_noticed_and_comes_back(watch, port, monkeypatch):
    """By asking it now and then."""
    monkeypatch.setattr("whisper_router.supervisor.standing.FIRST_REST_S", 0.05)
    server = Server(port=port)
    async with server.listening():
        watched = watch(server)
        watched.external.start()
        await watched.reach(State.READY)
    await watched.reach(State.STOPPED)
    assert watched.external.crashes == 1
    async with server.listening():
        await watched.reach(State.READY)
    assert watched.external.starts == 2


async def test_a_broken_answer_of_a_server_that_is_gone_puts_it_aside_at_once(watch):
    """Before the next request is sent there."""
    server = Server()
    async with server.listening():
        watched = watch(server, check_every_s=600)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        connection = external.serving()
    assert await external.is_settled(connection, timeout_s=15)
    assert external.state is State.STOPPED


async def test_broken_answers_in_a_row_put_a_server_aside_that_says_it_is_well(watch):
    """One is forgiven, and one between good ones is, too."""
    server = Server()
    async with server.listening():
        watched = watch(server, check_every_s=600)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        connection = external.serving()
        for _ in range(FAILURES_IN_A_ROW - 1):
            await external.is_settled(connection, timeout_s=15)
        assert external.standing.failures == FAILURES_IN_A_ROW - 1
        external.note_success()
        for _ in range(FAILURES_IN_A_ROW):
            assert external.state is State.READY
            await external.is_settled(connection, timeout_s=15)
        assert external.state is State.STOPPED
        assert "in a row" in str(external.last_error)


async def test_who_waits_for_an_answer_that_will_not_come_is_interrupted(watch):
    """As soon as the server is known to be gone, and not when its time is over."""
    server = Server()
    async with server.listening():
        watched = watch(server)
        watched.external.start()
        await watched.reach(State.READY)
        connection = watched.external.serving()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(EngineCrashed, match="is gone"):
            async with connection.unless_lost():
                await asyncio.Event().wait()


async def test_a_server_that_is_too_busy_to_say_so_keeps_its_work_for_a_while(watch, monkeypatch):
    """Many compute where they should answer: three silent checks are enough, and one is not."""
    server = Server()
    async with server.listening():
        watched = watch(server)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        connection = external.serving()
        connection.hold()
        server.is_silent = True
        monkeypatch.setattr("whisper_router.supervisor.external.CHECK_TIMEOUT_S", 0.1)
        await watched.reach(State.STOPPED)
        assert external._silent_checks == 3
        connection.drop()
        server.release.set()


async def test_after_a_rest_a_server_is_tried_with_one_request(watch, monkeypatch):
    """A good answer makes up for it, a broken one sends it away again at once."""
    monkeypatch.setattr("whisper_router.supervisor.standing.FIRST_REST_S", 0.05)
    server = Server()
    async with server.listening():
        watched = watch(server, check_every_s=600)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        connection = external.serving()
        for _ in range(FAILURES_IN_A_ROW):
            await external.is_settled(connection, timeout_s=15)
        await watched.reach(State.READY)
        assert external.standing.is_on_trial
        await external.is_settled(connection, timeout_s=15)
        assert external.state is State.STOPPED
        await watched.reach(State.READY)
        external.note_success()
        assert not external.standing.is_on_trial


async def test_a_stop_ends_the_questions(watch):
    """An alias that the configuration has no more must not be asked for ever."""
    server = Server()
    async with server.listening():
        watched = watch(server)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        await external.stop()
        assert external.state is State.STOPPED
        assert external._watch is None
        assert (await external.family(), external.outputs(), external.pid) == ([], [], None)
        external.start()
        await watched.reach(State.READY)


async def test_closing_waits_for_who_still_uses_its_session(watch):
    """A request that runs must not find its session closed under its hands."""
    server = Server()
    async with server.listening():
        watched = watch(server)
        external = watched.external
        external.start()
        await watched.reach(State.READY)
        connection = external.serving()
        connection.hold()
        await external.close()
        assert external.serving() is None
        assert not connection.http.closed
        connection.drop()
        async with asyncio.timeout(15):
            while not connection.http.closed:  # noqa: ASYNC110 - a session sets no event
                await asyncio.sleep(0)
