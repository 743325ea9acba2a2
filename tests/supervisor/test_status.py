"""What a pool's status adds up from its processes."""

from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.status import PoolStatus, ProcessStatus


def process(**fields) -> ProcessStatus:
    known = {
        "state": State.READY,
        "pid": 100,
        "leases": 0,
        "starts": 1,
        "crashes": 0,
        "recycles": 0,
        "chunks": 0,
        "rss_bytes": 1000,
        "accelerator": "cpu",
        "last_error": None,
    }
    return ProcessStatus(**known | fields)


def pool(*processes: ProcessStatus) -> PoolStatus:
    return PoolStatus(
        alias="a",
        engine="e",
        state=State.READY,
        processes=processes,
        leases=0,
        waiting=0,
        capacity=None,
        model=None,
        requested=None,
        idle_unload_s=None,
        last_error=None,
        breaker=BreakerState.CLOSED,
        is_pinned=False,
    )


def test_a_pool_without_processes_is_empty():
    """Before the first start nothing is known."""
    status = pool()
    assert (status.pids, status.starts, status.crashes, status.rss_bytes) == ([], 0, 0, 0)
    assert status.accelerator is None


def test_numbers_are_added_and_dead_processes_have_no_pid():
    """Starts and crashes count also of processes that do not run now."""
    dead = process(pid=None, starts=3, crashes=2, rss_bytes=0, accelerator=None)
    status = pool(dead, process(pid=7, starts=2, crashes=1, rss_bytes=500))
    assert status.pids == [7]
    assert (status.starts, status.crashes, status.rss_bytes) == (5, 3, 500)


def test_the_accelerator_is_that_of_the_first_process_that_is_ready():
    """A process that is starting has none yet."""
    starting = process(accelerator=None, state=State.STARTING)
    assert pool(starting, process(accelerator="cuda")).accelerator == "cuda"
