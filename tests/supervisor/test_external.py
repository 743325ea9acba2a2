"""The stand-in for an engine that has no process of ours."""

import asyncio

import pytest

from support.program_engine import ProcesslessEngine
from whisper_router.engine_api import Endpoint
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.tasks import Tasks

ENDPOINT = Endpoint(kind=ProcesslessEngine.endpoint_kind, url="http://engine")


@pytest.fixture
async def external():
    tasks = Tasks()
    made = External(ENDPOINT, alias="test", tasks=tasks)
    yield made
    await made.close()
    await tasks.close()


async def test_it_serves_from_the_beginning(external):
    """There is nothing to wait for, and nothing that any call could stop."""
    connection = external.serving()
    assert connection is not None
    assert connection.endpoint == ENDPOINT
    external.start()
    external.begin_stop()
    external.discard("no reason")
    external.kill()
    await external.stop()
    assert external.serving() is connection
    assert await external.is_settled(connection, timeout_s=0.0)


async def test_it_has_no_process_to_tell_about(external):
    """Reports show an alias that is ready and uses no memory here."""
    assert external.state is State.READY
    assert (external.pid, external.starts, external.crashes) == (None, 0, 0)
    assert (await external.family(), external.output()) == ([], None)
    assert (external.start_failure, external.last_error) == (None, None)


async def test_closing_waits_for_who_still_uses_its_session(external):
    """A request that runs must not find its session closed under its hands."""
    connection = external.serving()
    connection.hold()
    await external.close()
    assert external.serving() is None
    assert not connection.http.closed
    connection.drop()
    async with asyncio.timeout(5):
        while not connection.http.closed:  # noqa: ASYNC110 - a session sets no event
            await asyncio.sleep(0)
