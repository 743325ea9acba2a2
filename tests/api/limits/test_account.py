"""What a key has used."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.keys import NO_LIMITS, KeyLimits
from whisper_router.api.limits.account import KEPT_DAYS, Account, Clocks, Hold
from whisper_router.errors import LimitReached

NOON_S = 1_795_305_600.0 + 43_200.0  # 2026-11-22
DAY_S = 86_400.0


@dataclass
class Time:
    """Both clocks, which a test moves."""

    now_s: float = NOON_S

    def clocks(self) -> Clocks:
        return Clocks(monotonic=lambda: self.now_s, unix=lambda: self.now_s)


def account(time: Time) -> Account:
    return Account(name="laptop", clocks=time.clocks(), since_s=time.now_s)


def test_requests_beyond_the_limit_are_refused_until_a_minute_is_over():
    """The refusal says which limit, and when to come back."""
    time = Time()
    own, limits = account(time), KeyLimits(requests_per_minute=2)
    for _ in range(2):
        own.admit(limits)
        own.end()
        time.now_s += 10
    with pytest.raises(LimitReached, match="2 requests in a minute") as caught:
        own.admit(limits)
    error = caught.value
    assert (error.limit, error.kind, error.status) == ("requests_per_minute", "requests", 429)
    assert error.retry_after_s == 40
    time.now_s += 40
    own.admit(limits)
    assert (own.total.requests, own.total.errors) == (4, 1)


def test_as_many_run_at_a_time_as_may():
    """A refused one does not count as one that runs, nor as one of the minute."""
    time = Time()
    own, limits = account(time), KeyLimits(concurrent_requests=2, requests_per_minute=3)
    own.admit(limits)
    own.admit(limits)
    for _ in range(5):
        with pytest.raises(LimitReached, match="at a time") as caught:
            own.admit(limits)
        assert (caught.value.limit, caught.value.retry_after_s) == ("concurrent_requests", 1)
    own.end()
    own.admit(limits)
    assert own.window.count(time.now_s) == 3


def test_audio_that_is_held_is_nobody_elses():
    """What was held and not used is given back."""
    time = Time()
    own, limits = account(time), KeyLimits(audio_minutes_per_day=1)
    first, second = own.hold(limits), own.hold(limits)
    first.extend(40.0)
    second.extend(20.0)
    second.extend(20.0)
    with pytest.raises(LimitReached, match="nothing of it is left") as caught:
        own.admit(limits)
    assert (caught.value.kind, caught.value.retry_after_s) == ("audio_seconds", 43_200)
    first.settle(0.0)
    second.settle(20.0)
    assert own.audio_left_s(limits) == pytest.approx(40.0)
    assert own.held_s == {}
    assert (own.today().audio_s, own.total.audio_s) == (20.0, 20.0)


def test_a_new_day_has_a_new_budget_and_old_requests_use_the_old_one():
    """UTC's midnight."""
    time = Time(NOON_S + 43_190)
    own, limits = account(time), KeyLimits(audio_minutes_per_day=1)
    late = own.hold(limits)
    late.extend(50.0)
    time.now_s += 20
    assert own.audio_left_s(limits) == pytest.approx(60.0)
    late.settle(50.0)
    assert own.today().audio_s == 0.0
    assert own.total.audio_s == 50.0
    time.now_s -= 20  # the clock is set back
    assert own.audio_left_s(limits) == pytest.approx(10.0)


def test_only_the_last_days_stay_in_memory():
    """A server runs for years."""
    time = Time()
    own = account(time)
    for _ in range(10):
        own.today().requests += 1
        time.now_s += DAY_S
    assert len(own.days) == KEPT_DAYS


def test_what_is_heard_is_charged_until_nothing_is_left():
    """A live session, piece by piece."""
    own, limits = account(Time()), KeyLimits(audio_minutes_per_day=0.05)
    for _ in range(6):
        own.charge(0.5, limits)
    with pytest.raises(LimitReached):
        own.charge(0.5, limits)
    assert own.today().audio_s == pytest.approx(3.0)


def test_without_limits_all_is_counted_and_nothing_refused():
    """A hundred thousand seconds, too."""
    own = account(Time())
    for _ in range(100):
        own.admit(NO_LIMITS)
        own.charge(1000.0, NO_LIMITS)
    assert (own.running, own.today().requests, own.total.audio_s) == (100, 100, 100_000.0)


@given(
    moves=st.lists(
        st.tuples(st.integers(0, 9), st.floats(0, 90), st.booleans(), st.floats(0, 1)),
        max_size=60,
    )
)
def test_whatever_runs_at_once_the_budget_holds(
    moves: list[tuple[int, float, bool, float]],
):
    """Any order of begins, longer files than they said, ends and failures."""
    own, limits = account(Time()), KeyLimits(audio_minutes_per_day=2)
    holds: dict[int, Hold] = {}
    used_s = 0.0
    for slot, seconds, is_end, share in moves:
        hold = holds.setdefault(slot, own.hold(limits))
        if is_end:
            used_s += hold.seconds * share
            hold.settle(hold.seconds * share)
            del holds[slot]
        else:
            before_s = hold.seconds
            try:
                hold.extend(seconds)
            except LimitReached:
                assert hold.seconds == before_s
        assert own.today().audio_s + sum(own.held_s.values()) <= 120.0 + 1e-3
    for hold in holds.values():
        hold.settle(0.0)
    assert own.held_s == {}
    assert own.today().audio_s == pytest.approx(used_s)
