"""How many threads are worth starting."""

import os

from whisper_router_engines.whispercpp.cores import physical_cores


def test_there_is_a_core_and_no_more_than_we_may_use():
    """Affinity, hyper-threads and quota only ever lower the number."""
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))


def test_affinity_limits_the_cores():
    """A router that is pinned to one CPU must not start more threads."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert physical_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
