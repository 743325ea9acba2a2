"""Why an answer ended early."""

import asyncio
import time

import pytest

from whisper_router.engine_api import Endpoint, EndpointKind
from whisper_router.errors import EngineCrashed, EngineInterrupted
from whisper_router_engines.whispercpp.ends import Ends
from whisper_router_engines.whispercpp.loss import WAIT_S, explain_loss

pytestmark = pytest.mark.alone

WORKER = 11


@pytest.fixture
def endpoint(tmp_path) -> Endpoint:
    return Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=tmp_path / "engine.sock")


async def explained(endpoint: Endpoint, worker: int | None = WORKER) -> EngineCrashed:
    async with asyncio.timeout(2 * WAIT_S):
        return await explain_loss(worker, endpoint, since_s=time.monotonic())


async def test_before_a_worker_has_begun_the_chunk_is_not_the_reason(endpoint):
    """Nothing was computed; nobody need be asked."""
    assert type(await explained(endpoint, None)) is EngineInterrupted


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (-9, EngineInterrupted, "from outside.*SIGKILL"),
        (-15, EngineInterrupted, "from outside.*SIGTERM"),
        (-11, EngineCrashed, "crashed.*SIGSEGV"),
        (-6, EngineCrashed, "crashed.*SIGABRT"),
        (70, EngineCrashed, "crashed.*exit code 70"),
    ],
)
async def test_the_keeper_that_notices_a_moment_later_is_waited_for(endpoint, code, kind, words):
    """The connection breaks before the worker can be reaped."""
    ends = Ends(endpoint.socket)
    later = asyncio.get_running_loop().call_later(0.05, ends.add, WORKER, code)
    error = await explained(endpoint)
    later.cancel()
    assert type(error) is kind
    with pytest.raises(EngineCrashed, match=words):
        raise error


async def test_without_a_keeper_it_is_the_routers_to_know(endpoint):
    """The worker is the process: no waiting."""
    began_s = time.monotonic()
    assert type(await explained(endpoint)) is EngineCrashed
    assert time.monotonic() - began_s < WAIT_S


async def test_a_keeper_that_goes_away_while_it_is_asked_ends_the_wait(endpoint):
    """The router removes what it left behind."""
    Ends(endpoint.socket)
    later = asyncio.get_running_loop().call_later(0.05, endpoint.socket.with_suffix(".ends").unlink)
    began_s = time.monotonic()
    assert type(await explained(endpoint)) is EngineCrashed
    later.cancel()
    assert time.monotonic() - began_s < WAIT_S


async def test_an_endpoint_without_a_socket_has_no_keeper():
    """Another kind of endpoint does not break it."""
    endpoint = Endpoint(kind=EndpointKind.TCP, url="http://127.0.0.1:1")
    assert type(await explained(endpoint)) is EngineCrashed
