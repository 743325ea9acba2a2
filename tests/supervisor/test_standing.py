"""How far a server is trusted; the clock is a number."""

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.supervisor.standing import (
    FAILURES_IN_A_ROW,
    FIRST_REST_S,
    FORGIVEN_AFTER_S,
    LONGEST_REST_S,
    Standing,
)


def test_a_broken_answer_has_others_asked_first_longer_each_time():
    """Until it has given a whole one."""
    standing = Standing()
    assert standing.fail(now_s=10.0) == 1.0
    assert standing.is_held_off(now_s=10.9)
    assert not standing.is_held_off(now_s=11.0)
    assert standing.fail(now_s=20.0) == 2.0
    assert not standing.is_lost
    standing.succeed()
    assert not standing.is_held_off(now_s=20.1)
    assert standing.fail(now_s=30.0) == 1.0


def test_several_in_a_row_end_in_a_rest_and_a_trial():
    """On trial one is enough."""
    standing = Standing()
    for _ in range(FAILURES_IN_A_ROW):
        assert not standing.is_lost
        standing.fail(now_s=0.0)
    assert standing.is_lost
    standing.rest(now_s=100.0)
    assert standing.is_resting(now_s=100.0 + FIRST_REST_S - 0.1)
    assert not standing.is_resting(now_s=100.0 + FIRST_REST_S)
    assert standing.is_on_trial
    assert not standing.is_lost
    standing.fail(now_s=110.0)
    assert standing.is_lost


def test_failures_of_long_ago_are_forgiven_but_no_trial_is():
    """That ends with an answer."""
    standing = Standing()
    standing.fail(now_s=0.0)
    standing.forgive(now_s=FORGIVEN_AFTER_S - 1)
    assert standing.failures == 1
    standing.rest(now_s=0.0)
    standing.forgive(now_s=FORGIVEN_AFTER_S)
    assert standing.failures == 0
    assert standing.is_on_trial


def test_too_much_to_do_is_no_failure():
    """Others are asked first, and nothing else."""
    standing = Standing()
    standing.hold_off(5.0)
    standing.hold_off(3.0)
    assert standing.is_held_off(now_s=4.9)
    assert standing.failures == 0


@given(st.lists(st.sampled_from(["fail", "rest", "succeed"]), max_size=60))
def test_no_rest_is_longer_than_the_longest(deeds):
    """And each is at least the first."""
    standing = Standing()
    for deed in deeds:
        if deed == "fail":
            standing.fail(now_s=0.0)
        elif deed == "succeed":
            standing.succeed()
        else:
            standing.rest(now_s=0.0)
            assert FIRST_REST_S <= standing.rest_left_s(now_s=0.0) <= LONGEST_REST_S
