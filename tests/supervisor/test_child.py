"""One program: its pipes, its group, its end, on both ways to hear of the end."""

import asyncio
import os
import signal
import sys

import pytest

from support.processes import gone, written
from whisper_router.supervisor.child import Child


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


@pytest.fixture
async def spawn():
    """Start children; what still runs at the end is killed."""
    started = []

    def start(*argv: str) -> Child:
        child = Child(argv, dict(os.environ), on_exit=lambda: None)
        started.append(child)
        return child

    yield start
    for child in started:
        child.signal(signal.SIGKILL)
        assert await child.wait(timeout_s=15)
        await child.drain()


async def test_output_and_code_are_there_after_the_end(spawn):
    """Both streams are read to their end."""
    child = spawn(*python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(4)"))
    assert await child.wait(timeout_s=15)
    await child.drain()
    assert child.code == 4
    assert sorted(child.output.tail(5)) == ["err", "out"]


async def test_the_end_is_told_once(spawn):
    """Hearing of it from the loop and asking for it are the same end."""
    ends = []
    child = Child(python(""), dict(os.environ), on_exit=lambda: ends.append(1))
    assert await child.wait(timeout_s=15)
    assert not child.check()
    await child.drain()
    assert ends == [1]


async def test_wait_gives_up_in_time(spawn):
    """A program that goes on is left alone."""
    child = spawn("sleep", "60")
    assert not await child.wait(timeout_s=0.02)
    assert child.check()


async def test_letting_go_of_the_pipes_is_the_end_of_its_stdin(spawn):
    """Engines exit when their stdin ends."""
    child = spawn(*python("import sys; sys.stdin.read(); sys.exit(7)"))
    child.close_pipes()
    assert await child.wait(timeout_s=15)
    assert child.code == 7


async def test_a_signal_reaches_the_whole_group(spawn, tmp_path):
    """The leader's children are stopped with it."""
    path = tmp_path / "pid"
    child = spawn("/bin/sh", "-c", f"sleep 60 & echo $! > {path}.new; mv {path}.new {path}; wait")
    async with asyncio.timeout(15):
        grandchild = int(await written(path))
        child.signal(signal.SIGTERM)
        await gone(grandchild)
        assert await child.wait(timeout_s=15)


async def test_where_there_is_no_pidfd_a_thread_waits(spawn, tmp_path):
    """macOS and old kernels have no pidfd; the end is heard of all the same."""

    class Elsewhere(Child):
        open_pidfd = staticmethod(lambda pid: None)

    path = tmp_path / "pid"
    child = Elsewhere(
        ("/bin/sh", "-c", f"sleep 60 & echo $! > {path}.new; mv {path}.new {path}; exit 5"),
        dict(os.environ),
        on_exit=lambda: None,
    )
    async with asyncio.timeout(15):
        assert await child.wait(timeout_s=15)
        await gone(int(await written(path)))
        await child.drain()
    assert child.code == 5


async def test_engines_do_not_inherit_descriptors_of_each_other(spawn):
    """Otherwise the end of one's stdin would wait for the end of another."""
    first = spawn(*python("import sys; sys.stdin.read()"))
    spawn("sleep", "60")
    first.close_pipes()
    assert await first.wait(timeout_s=15)
