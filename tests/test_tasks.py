"""Background tasks are named, kept, cancelled by their owner, and heard when they fail."""

import asyncio

import pytest
import structlog

from whisper_router.tasks import Tasks

pytestmark = pytest.mark.both_loops


class CleanUp:
    """A task of `tasks` that cleans up, once it is cancelled, until `may_end`."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.begins, self.may_end = asyncio.Event(), asyncio.Event()
        self.done = asyncio.Event()

    async def begun(self) -> None:
        """Start it, and return when it runs."""
        running = asyncio.Event()

        async def work() -> None:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.begins.set()
                await self.may_end.wait()
                self.done.set()

        self.tasks.spawn(work(), name="worker")
        await running.wait()


async def fail() -> None:
    raise OSError("no room")


async def test_a_task_has_the_name_that_it_was_given():
    """So that logs and debuggers can tell which one it is."""
    tasks = Tasks()
    running = tasks.spawn(asyncio.sleep(60), name="sleeper")
    assert running.get_name() == "sleeper"
    await tasks.close()
    assert running.cancelled()


async def test_closing_waits_until_every_task_has_cleaned_up():
    """What a task does in `finally` is done when close() returns."""
    tasks, begun, cleaned = Tasks(), asyncio.Event(), []

    async def work(name: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)

    tasks.spawn(work("a"), name="a")
    tasks.spawn(work("b"), name="b")
    await begun.wait()
    await asyncio.sleep(0)
    await tasks.close()
    assert sorted(cleaned) == ["a", "b"]


async def test_who_is_cancelled_while_it_closes_leaves_the_tasks_to_their_clean_up():
    """They are told once: a second cancellation would end what they do in `finally`."""
    clean_up, owner = CleanUp(), Tasks()
    async with asyncio.timeout(15):
        await clean_up.begun()
        closing = owner.spawn(clean_up.tasks.close(), name="closer")
        await clean_up.begins.wait()
        closing.cancel()
        await asyncio.wait({closing})
        clean_up.may_end.set()
        await clean_up.done.wait()
    assert closing.cancelled()


async def test_a_task_may_close_its_owner():
    """It does not wait for itself."""
    tasks = Tasks()
    async with asyncio.timeout(15):
        await tasks.spawn(tasks.close(), name="closer")


async def test_a_failure_that_nobody_waits_for_is_logged():
    """With the task's name and the cause; cancellation is no failure."""
    tasks = Tasks()
    with structlog.testing.capture_logs() as lines:
        failed = tasks.spawn(fail(), name="fetcher")
        with pytest.raises(OSError, match="no room"):
            await failed
        tasks.spawn(asyncio.sleep(60), name="sleeper")
        await tasks.close()
    assert [(line["event"], line["task"]) for line in lines] == [
        ("background_task_failed", "fetcher")
    ]
    assert lines[0]["exc_info"] is failed.exception()


async def test_closing_in_full_is_not_cut_short_by_a_cancellation():
    """What the tasks work on must not be freed under them."""
    clean_up, owner = CleanUp(), Tasks()
    was_done = []

    async def close() -> None:
        try:
            await clean_up.tasks.close_in_full()
        finally:
            was_done.append(clean_up.done.is_set())

    async with asyncio.timeout(15):
        await clean_up.begun()
        closing = owner.spawn(close(), name="closer")
        await clean_up.begins.wait()
        for _ in range(3):
            closing.cancel()
            await asyncio.sleep(0)
        clean_up.may_end.set()
        await asyncio.wait({closing})
    assert was_done == [True]
    assert closing.cancelled()


async def test_what_is_done_in_full_goes_on_without_who_waited_for_it():
    """Its result is theirs if they stay; the owner can still end it."""
    tasks, may_end, done = Tasks(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        await may_end.wait()
        done.set()
        return "done"

    waiting = asyncio.get_running_loop().create_task(tasks.in_full(work(), name="work"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    may_end.set()
    await asyncio.wait_for(done.wait(), 10)
    assert await tasks.in_full(work(), name="work") == "done"
    await tasks.close()


async def test_what_fails_in_full_is_told_to_who_waits_or_to_the_log():
    """Not to both, and not to nobody."""
    tasks = Tasks()
    with structlog.testing.capture_logs() as logs, pytest.raises(OSError, match="no room"):
        await tasks.in_full(fail(), name="fails")
    assert logs == []
    may_fail = asyncio.Event()

    async def fail_late() -> None:
        await may_fail.wait()
        await fail()

    waiting = asyncio.get_running_loop().create_task(tasks.in_full(fail_late(), name="fails"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    with structlog.testing.capture_logs() as logs:
        may_fail.set()
        while tasks._alive:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [entry["event"] for entry in logs] == ["background_task_failed"]
