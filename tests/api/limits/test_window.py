"""Requests of the last minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.limits.window import GRAIN_S, SPAN_S, Window

STEPS = st.lists(st.floats(0, 40, allow_nan=False), max_size=60)


@given(steps=STEPS, most=st.integers(1, 8))
def test_no_minute_has_too_many_and_nobody_waits_for_nothing(steps: list[float], most: int):
    """Against the list of all times: a request waits only for one that was less than a minute ago.

    Give or take what lies within a grain.
    """
    window, now_s, admitted = Window(), 1000.0, list[float]()
    for step_s in steps:
        now_s += step_s
        if window.wait_s(now_s, most) > 0:
            near = [at_s for at_s in admitted if now_s - at_s < SPAN_S + GRAIN_S]
            assert len(near) >= most
        else:
            window.add(now_s)
            admitted.append(now_s)
    for index, at_s in enumerate(admitted):
        assert sum(at_s <= later_s < at_s + SPAN_S for later_s in admitted[index:]) <= most


@given(steps=STEPS, most=st.integers(1, 8))
def test_who_comes_back_when_told_is_admitted(steps: list[float], most: int):
    """And not a moment before."""
    window, now_s = Window(), 0.0
    for step_s in steps:
        now_s += step_s
        wait_s = window.wait_s(now_s, most)
        if wait_s > 0:
            assert window.wait_s(now_s + wait_s * 0.99, most) > 0
            now_s += wait_s + 1e-9
            assert window.wait_s(now_s, most) == 0
        window.add(now_s)


def test_a_minute_of_many_requests_takes_little_memory():
    """An entry for each hundredth of a second, however many there are."""
    window = Window()
    for number in range(100_000):
        window.add(number / 100_000)
    assert window.count(1.0) == 100_000
    assert len(window.entries(1.0)) <= 1 / GRAIN_S + 1


def test_it_is_empty_again_a_minute_after_the_last_one():
    """Which is what `reset` says."""
    window = Window()
    assert window.reset_s(0.0) == 0.0
    window.add(10.0)
    window.add(30.0)
    assert window.reset_s(40.0) == pytest.approx(50.0)
    assert window.count(90.0) == 0


def test_what_was_before_counts_until_its_minute_is_over():
    """Also after a clock was set back: then it is as if it were now."""
    window = Window()
    window.restore([(50.0, 2), (10.0, 1), (-3600.0, 1)], 100.0)
    assert window.count(100.0) == 4
    assert window.count(111.0) == 2
    assert window.count(151.0) == 1
    assert window.count(160.0) == 0
