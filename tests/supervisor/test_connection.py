"""Sessions live as long as somebody needs them."""

import asyncio

from support.processes import begun
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
    async with asyncio.timeout(5):
        await closed(made)
    await tasks.close()


async def test_an_unused_drop_before_the_end_closes_nothing(tmp_path):
    """Leases come and go while the process lives."""
    tasks = Tasks()
    made = connection(tmp_path, tasks)
    made.hold()
    made.drop()
    assert not made.http.closed
    async with asyncio.timeout(5):
        await begun(made.retire())
    await tasks.close()
