"""Long results in the SQLite file; what every store does: test_store.py."""

import asyncio
import threading

import pytest

from support.job_samples import EVENTS, make_job
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.sqlite import open_store
from whisper_router.jobs.sqlite_results import AT_ONCE


async def test_only_so_many_threads_are_busy_with_results(tmp_path):
    """Uploads and other files need some, too."""
    now, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(AT_ONCE, timeout=10)

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        with lock:
            now[0] -= 1

    async with open_store(tmp_path / "jobs.db") as store:
        await asyncio.gather(*(store.in_thread(work) for _ in range(3 * AT_ONCE)))
        with pytest.raises(ZeroDivisionError):
            await store.in_thread(lambda: 1 / 0)
        await store.in_thread(lambda: None)
    assert most[0] == AT_ONCE


async def test_results_whose_time_is_over_go_before_their_jobs(tmp_path):
    """Once; chunks went with the jobs' ends."""
    async with open_store(tmp_path / "jobs.db") as store:
        await store.add(make_job("one"))
        await store.take(now_s=1.0)
        await store.keep_chunk("one", 0, 1, EVENTS)
        await store.finish("one", JobStatus.CANCELLED, now_s=1.0)
        assert await store.chunks("one") == {}
        assert await store.erase_results(2.0) == []
