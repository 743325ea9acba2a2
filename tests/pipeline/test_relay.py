"""Which server gets an upload, and which one gets it next: real servers that misbehave."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.held_port import held_port
from support.odd_server import OddServer, odd_server
from support.own_time import pass_s
from support.program_engine import ProgramEngine, ProgramOptions
from support.relayed_form import ScriptedForm
from whisper_router.errors import (
    EngineCrashed,
    EngineStartFailed,
    EngineTimeout,
    InvalidRequest,
    ModelNotFound,
    UpstreamRefused,
)
from whisper_router.pipeline.relay import Relay
from whisper_router.scheduling.dispatch import Dispatchers, QueueLimits
from whisper_router.scheduling.fair_queue import Ticket
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import ProcessStatus
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks
from whisper_router_engines.upstream.engine import Upstream
from whisper_router_engines.upstream.options import UpstreamOptions

WAIT_S = 30
PATIENCE_S = 4.0  # less than a server may take to say that it is well
SUPERVISION = SupervisionOptions(
    start_silence_s=20, start_limit_s=60, stop_grace_s=5, idle_unload_s=None
)
LIMITS = QueueLimits(max_chunks=100, max_requests=100, timeout_s=WAIT_S)


async def no_model() -> Path:
    return Path("/dev/null")


class Bench:
    """A relay over some servers; `ask` sends one form."""

    def __init__(self, relay: Relay, servers: list[OddServer], pool: ModelPool) -> None:
        self.relay, self.servers, self.pool = relay, servers, pool
        self.turns = 0

    async def ask(self, form: ScriptedForm) -> bytes:
        def began() -> None:
            self.turns += 1

        ticket = Ticket(request_id="one")
        async with (
            asyncio.timeout(WAIT_S),
            self.relay.answer("box", form, ticket, began=began) as answer,
        ):
            return b"".join([piece async for piece in answer.body])

    async def ask_politely(self, form: ScriptedForm) -> None:
        """Send one form, and take what comes as a handler does that has begun to answer."""
        async with (
            asyncio.timeout(WAIT_S),
            self.relay.answer("box", form, Ticket(request_id="one"), began=lambda: None) as answer,
        ):
            with contextlib.suppress(EngineCrashed):
                async for _ in answer.body:
                    pass

    async def processes(self) -> Sequence[ProcessStatus]:
        """Return what is known of each server."""
        return (await self.pool.status()).processes

    async def all_ready(self) -> None:
        """Return once every server was asked and is there."""
        await self.pool.warm()
        async with asyncio.timeout(WAIT_S):
            while any(  # noqa: ASYNC110 - they are asked aside
                each.state is not State.READY for each in await self.processes()
            ):
                await asyncio.sleep(0.005)

    async def is_gone(self, server: OddServer) -> None:
        """Have it found out that a server is not there any more, while its connections stay."""
        server.is_down = True
        [slot] = [slot for slot in self.pool._slots if slot.process.url == f"{server.url}/v1"]
        slot.process._hurry.set()

    @property
    def uploads(self) -> list[int]:
        """How many uploads each server has got."""
        return [
            sum(request.method == "POST" for request in server.requests) for server in self.servers
        ]


@pytest.fixture
async def make(tmp_path) -> AsyncIterator[Callable]:
    """Make a bench of servers that do what they are told to."""
    tasks = Tasks()
    async with AsyncExitStack() as stack:

        async def make(*habits: str, absent: tuple[str, ...] = (), **options: object) -> Bench:
            servers = [await stack.enter_async_context(odd_server()) for _ in habits]
            for server, habit in zip(servers, habits, strict=True):
                server.do = habit
            urls = [*absent, *(f"{server.url}/v1" for server in servers)]
            box = PoolSpec(
                alias="box",
                engine=Upstream(),
                options=UpstreamOptions.model_validate({"base_urls": urls, **options}),
                model=no_model,
                supervision=SUPERVISION,
            )
            own = PoolSpec(
                alias="own",
                engine=ProgramEngine(),
                options=ProgramOptions(workers=1),
                model=no_model,
                supervision=SUPERVISION,
            )
            supervisor = Supervisor([box, own], run_dir=tmp_path, tasks=tasks)
            await supervisor.open()
            stack.push_async_callback(supervisor.close, deadline_s=10)
            relay = Relay(Dispatchers(supervisor.pool, LIMITS))
            return Bench(relay, servers, supervisor.pool("box"))

        yield make
    await tasks.close()


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    with held_port() as port:
        yield port


async def test_only_what_a_server_elsewhere_does_is_sent_on(make):
    """And only if its alias is to pass uploads on whole."""
    relay = (await make("answer")).relay
    assert [relay.takes(name) for name in ("box", " box ", "own", "none", None)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [relay.is_remote(name) for name in ("box", "own", None)] == [True, False, False]
    chunks = (await make("answer", passthrough=False)).relay
    assert (chunks.is_remote("box"), chunks.takes("box")) == (True, False)


async def test_servers_take_turns(make):
    """Those with equal work, that is."""
    bench = await make("answer", "answer")
    await bench.all_ready()
    for _ in range(4):
        assert json.loads(await bench.ask(ScriptedForm([b"x"])))["text"] == "hello"
    assert bench.uploads == [2, 2]
    assert bench.turns == 4


async def test_the_one_with_less_to_do_is_asked(make):
    """The other one has a request that it does not answer."""
    bench = await make("be silent", "be silent")
    await bench.all_ready()
    first = asyncio.ensure_future(bench.ask(ScriptedForm([b"x"])))  # noqa: TID251 - owned here
    async with asyncio.timeout(WAIT_S):
        busy, free = await _busy_and_free(bench)
    free.do = "answer"
    for _ in range(3):
        await bench.ask(ScriptedForm([b"x"]))
    assert sum(request.method == "POST" for request in busy.requests) == 1
    busy.held.set()
    await first


async def _busy_and_free(bench: Bench) -> tuple[OddServer, OddServer]:
    first, second = bench.servers
    waits = {asyncio.ensure_future(server.arrived.get()): server for server in bench.servers}  # noqa: TID251
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    busy = waits[done.pop()]
    return busy, second if busy is first else first


async def test_who_is_not_there_costs_nothing(make, nobodys_port):
    """The request goes to who is."""
    bench = await make("answer", absent=(f"http://127.0.0.1:{nobodys_port}/v1",))
    for _ in range(3):
        assert json.loads(await bench.ask(ScriptedForm([b"x"])))["text"] == "hello"


async def test_an_answer_that_breaks_off_is_asked_for_elsewhere_once(make):
    """The upload is read again from its beginning."""
    bench = await make("hang up", "answer")
    form = ScriptedForm([b"x" * 1000])
    for _ in range(4):
        assert json.loads(await bench.ask(form))["text"] == "hello"
    assert bench.uploads[1] == 4
    assert form.times_read == sum(bench.uploads)


async def test_two_that_hang_up_end_the_request(make):
    """A third try would be the audio's fault."""
    bench = await make("hang up", "hang up", "answer")
    bench.servers[2].do = "hang up"
    with pytest.raises(EngineCrashed):
        await bench.ask(ScriptedForm([b"x"]))
    assert sum(bench.uploads) == 2


async def test_a_refusal_is_told_and_not_shopped_around(make):
    """What is wrong with the request is wrong everywhere."""
    bench = await make("refuse early", "refuse early")
    with pytest.raises(UpstreamRefused, match="too large"):
        await bench.ask(ScriptedForm([b"x"]))
    assert sum(bench.uploads) == 1


async def test_who_has_too_much_to_do_is_spared(make):
    """Another one takes it, and from then on it is not asked first."""
    bench = await make("be busy", "answer")
    for _ in range(4):
        assert json.loads(await bench.ask(ScriptedForm([b"x"])))["text"] == "hello"
    assert bench.uploads[0] <= 1


async def test_if_all_have_too_much_to_do_the_client_is_told_when_to_come_back(make):
    """With the words of the last one."""
    bench = await make("be busy", "be busy")
    with pytest.raises(UpstreamRefused, match="busy") as caught:
        await bench.ask(ScriptedForm([b"x"]))
    assert (caught.value.status, caught.value.retry_after_s) == (503, 3)


async def test_a_silent_server_is_not_replaced(make):
    """It may still work: two would."""
    bench = await make("be silent", "be silent", answer_timeout_s=0.2)
    with pytest.raises(EngineTimeout):
        await bench.ask(ScriptedForm([b"x"]))
    assert sum(bench.uploads) == 1


async def test_a_broken_upload_is_nobody_s_fault_but_the_client_s(make):
    """No server is put aside for it."""
    bench = await make("answer", "answer")
    for _ in range(4):
        with pytest.raises(InvalidRequest, match="cut short"):
            await bench.ask(ScriptedForm([b"x"], error=InvalidRequest("cut short")))
    assert json.loads(await bench.ask(ScriptedForm([b"x"])))["text"] == "hello"


async def test_nobody_there_is_said_with_an_address(make, nobodys_port):
    """And at once."""
    url = f"http://127.0.0.1:{nobodys_port}/v1"
    bench = await make(absent=(url,))
    with pytest.raises(EngineStartFailed, match=url):
        await bench.ask(ScriptedForm([b"x"]))


async def test_an_alias_that_is_gone_is_not_found(make):
    """A reload may have removed it meanwhile."""
    bench = await make("answer")
    with pytest.raises(ModelNotFound):
        async with bench.relay.answer(
            "none", ScriptedForm([b"x"]), Ticket(request_id="one"), began=lambda: None
        ):
            pass


async def test_one_that_fails_at_once_does_not_draw_all_requests(make):
    """It always has the least to do; who is busy with good answers gets them all the same."""
    bench = await make("break", "answer", concurrency=2)
    await bench.all_ready()
    answers = await asyncio.gather(*(bench.ask(ScriptedForm([b"x"])) for _ in range(16)))
    assert {json.loads(answer)["text"] for answer in answers} == {"hello"}
    assert bench.uploads[1] == 16
    assert bench.uploads[0] <= 4


async def test_too_much_to_do_is_no_fault(make):
    """Who says so is asked later, and not put aside."""
    bench = await make("be busy", "answer")
    await bench.all_ready()
    for _ in range(8):
        await bench.ask(ScriptedForm([b"x"]))
    [busy, _] = await bench.processes()
    assert (busy.state, busy.crashes) == (State.READY, 0)


class Awaited(asyncio.Event):
    """Something for which nobody has the patience to wait."""

    async def wait(self) -> bool:
        pass_s(PATIENCE_S)
        return await super().wait()


@pytest.mark.own_time
async def test_servers_that_hang_one_after_the_other_are_put_aside(make):
    """Although they say that they are well."""
    bench = await make("be silent", "answer", answer_timeout_s=PATIENCE_S)
    await bench.all_ready()
    bench.servers[0].held = Awaited()
    late = 0
    for _ in range(12):
        try:
            await bench.ask(ScriptedForm([b"x"]))
        except EngineTimeout:
            late += 1
    assert 0 < late <= 3
    assert bench.uploads[1] >= 9


async def test_streams_that_break_off_count(make):
    """Their clients have seen it; the pool must hear of it, too."""
    bench = await make("stream", "stream")
    await bench.all_ready()
    for server in bench.servers:
        server.held.set()
    for _ in range(3):
        with pytest.raises(EngineCrashed):
            await bench.ask(ScriptedForm([b"x"]))
    for _ in range(3):
        await bench.ask_politely(ScriptedForm([b"x"]))
    assert sum(process.crashes for process in await bench.processes()) >= 1


async def test_a_server_that_is_gone_gives_its_requests_back(make):
    """At once, and not after the time that an answer may take."""
    bench = await make("be silent", "answer")
    await bench.all_ready()
    first = asyncio.ensure_future(bench.ask(ScriptedForm([b"x"])))  # noqa: TID251 - owned here
    async with asyncio.timeout(WAIT_S):
        silent, other = bench.servers
        reached = asyncio.ensure_future(silent.arrived.get())  # noqa: TID251
        await asyncio.wait({first, reached}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():  # it began with the other one
            await first
            first = asyncio.ensure_future(bench.ask(ScriptedForm([b"x"])))  # noqa: TID251
        await reached
        await bench.is_gone(silent)
        assert json.loads(await first)["text"] == "hello"
        assert other.requests


async def test_a_form_that_is_wanted_whole_takes_nobody_s_turn_before(make):
    """A slow client keeps nobody waiting but itself."""
    bench = await make("answer", stream_upload=False, concurrency=1)
    more: asyncio.Queue[None] = asyncio.Queue()
    slow = asyncio.ensure_future(bench.ask(ScriptedForm([b"x"], more=more)))  # noqa: TID251
    assert json.loads(await bench.ask(ScriptedForm([b"x"])))["text"] == "hello"
    assert not slow.done()
    more.put_nowait(None)
    assert json.loads(await slow)["text"] == "hello"
