"""Who is told that a job has changed."""

from whisper_router.jobs.watchers import Watchers


def test_those_who_watch_a_job_are_told_of_it():
    """Each of them, of no other job, and not afterwards."""
    watchers = Watchers()
    with watchers.watch("one") as first, watchers.watch("one") as second:
        watchers.tell("two")
        assert not first.is_set()
        watchers.tell("one")
        assert first.is_set()
        assert second.is_set()
        first.clear()
    watchers.tell("one")
    assert not first.is_set()
    assert watchers._events == {}
