"""Pauses after failures, without a clock."""

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.supervisor.breaker import FREE_FAILURES, Breaker, BreakerState


def failed(times: int, *, longest_pause_s: float = 60.0) -> Breaker:
    breaker = Breaker(longest_pause_s=longest_pause_s)
    for _ in range(times):
        breaker.fail(now_s=100.0)
    return breaker


def test_the_first_failures_cost_no_pause():
    """Somebody may be mending the configuration."""
    for times in range(FREE_FAILURES + 1):
        assert failed(times).state(now_s=100.0) is BreakerState.CLOSED
        assert failed(times).left_s(now_s=100.0) == 0.0


def test_each_further_failure_doubles_the_pause_up_to_the_longest():
    """1, 2, 4 … 60 seconds."""
    pauses_s = [failed(times).left_s(now_s=100.0) for times in range(3, 12)]
    assert pauses_s == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_a_pause_one_attempt_may_be_made():
    """If it fails the breaker is open again, and for longer."""
    breaker = failed(3)
    assert breaker.state(now_s=100.9) is BreakerState.OPEN
    assert breaker.left_s(now_s=100.5) == 0.5
    assert breaker.state(now_s=101.0) is BreakerState.HALF_OPEN
    breaker.fail(now_s=105.0)
    assert breaker.state(now_s=106.9) is BreakerState.OPEN
    assert breaker.state(now_s=107.0) is BreakerState.HALF_OPEN


def test_a_start_ends_the_row():
    """Whatever happened before."""
    breaker = failed(8)
    breaker.succeed()
    assert breaker.state(now_s=100.0) is BreakerState.CLOSED
    breaker.fail(now_s=100.0)
    assert breaker.state(now_s=100.0) is BreakerState.CLOSED


def test_without_a_longest_pause_there_is_none():
    """`longest_pause_s = 0` turns it off."""
    assert failed(50, longest_pause_s=0.0).state(now_s=100.0) is BreakerState.HALF_OPEN


@given(st.integers(0, 500), st.floats(0, 1e6))
def test_a_pause_is_never_longer_than_the_longest(times, longest_s):
    """However long an engine has been failing."""
    assert 0.0 <= failed(times, longest_pause_s=longest_s).left_s(now_s=100.0) <= longest_s + 1e-6
