"""How many attempts a chunk gets, and how fast they follow each other."""

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.pipeline.losses import ENDURANCE, Endurance, Losses

LASTED = st.floats(0, 60)


def test_a_second_failure_is_the_last():
    """Interruptions in between do not count as failures."""
    losses = Losses(ENDURANCE)
    assert losses.fail()
    assert losses.interrupt(now_s=0.0)
    assert not losses.fail()


def test_interruptions_have_a_bound_of_their_own():
    """A failure in between does not count as one."""
    losses = Losses(Endurance(interruptions=3))
    assert losses.interrupt(now_s=0.0)
    assert losses.fail()
    assert losses.interrupt(now_s=0.0)
    assert not losses.interrupt(now_s=0.0)


def test_attempts_that_end_at_once_follow_each_other_more_and_more_slowly():
    """The first ones at once, then twice as slowly each time, then at the slowest pace."""
    endurance = Endurance(patient=2, first_pace_s=0.1, slowest_pace_s=0.5)
    pauses = [endurance.pause_s(number, 0.0) for number in range(1, 8)]
    assert pauses == [0.0, 0.0, 0.1, 0.2, 0.4, 0.5, 0.5]


def test_an_attempt_that_was_at_work_need_not_wait():
    """The pace is measured from beginning to beginning."""
    endurance = Endurance(patient=0, first_pace_s=0.25, slowest_pace_s=0.25)
    assert endurance.pause_s(1, 0.125) == 0.125
    assert endurance.pause_s(1, 0.3) == 0.0


@given(st.integers(1, 10**6), LASTED)
def test_a_pause_is_never_negative_and_never_long(interruptions, lasted_s):
    """However often it was interrupted."""
    assert 0.0 <= ENDURANCE.pause_s(interruptions, lasted_s) <= ENDURANCE.slowest_pace_s


def test_a_chunk_that_is_interrupted_at_once_each_time_is_given_up_within_a_minute():
    """Whoever waits for it is to be told."""
    pauses = (ENDURANCE.pause_s(n, 0.0) for n in range(1, ENDURANCE.interruptions))
    assert sum(pauses) < 60


def test_long_attempts_that_others_end_are_made_a_few_times_only():
    """Something ends them again and again; the client is told after minutes, not after an hour."""
    losses = Losses(Endurance(late_interruptions=3, limit_s=60))
    assert losses.interrupt(now_s=0.0)
    assert losses.interrupt(now_s=61.0)
    assert not losses.interrupt(now_s=122.0)
