"""The policy alone: lanes, weights, turns, bounds."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import Lane
from whisper_router.scheduling.fair_queue import FairQueue, QueueFullError, Ticket


def queue(max_chunks: int = 10_000, max_requests: int = 10_000) -> FairQueue:
    return FairQueue(max_chunks=max_chunks, max_requests=max_requests)


def drain(waiting: FairQueue) -> list:
    found = []
    while (item := waiting.pop()) is not None:
        found.append(item)
    return found


def test_a_short_request_does_not_wait_behind_a_long_one():
    """Ten chunks wait; the clip that comes last is next but one at most."""
    waiting = queue()
    for number in range(10):
        waiting.push(f"long {number}", Ticket(request_id="long"))
    assert waiting.pop() == "long 0"
    waiting.push("clip", Ticket(request_id="clip"))
    assert "clip" in [waiting.pop(), waiting.pop()]


def test_lanes_are_strict():
    """Live before interactive before jobs, whatever came first."""
    waiting = queue()
    for lane in (Lane.JOB, Lane.INTERACTIVE, Lane.LIVE):
        waiting.push(lane, Ticket(request_id=lane.name, lane=lane))
    assert drain(waiting) == [Lane.LIVE, Lane.INTERACTIVE, Lane.JOB]


@pytest.mark.parametrize(("weight", "share"), [(1.0, 50), (3.0, 75)])
def test_keys_share_by_weight(weight, share):
    """Of a hundred turns, with both always waiting and chunks of unequal cost."""
    waiting = queue()
    for number in range(200):
        waiting.push("a", Ticket(request_id=f"a{number}", key="a", weight=weight, cost_s=10))
        waiting.push("b", Ticket(request_id=f"b{number}", key="b", cost_s=10))
    turns = Counter(waiting.pop() for _ in range(100))
    assert abs(turns["a"] - share) <= 1


def test_a_key_with_many_requests_gets_no_more_than_one_with_few():
    """A hundred requests of one key against one of another: turns alternate."""
    waiting = queue()
    for number in range(100):
        waiting.push("many", Ticket(request_id=f"m{number}", key="many"))
    for _ in range(10):
        waiting.push("few", Ticket(request_id="f", key="few"))
    assert Counter(waiting.pop() for _ in range(20)) == {"many": 10, "few": 10}


def test_a_key_that_was_away_gets_no_credit():
    """Who comes late shares from then on; the others do not starve."""
    waiting = queue()
    for number in range(50):
        waiting.push("old", Ticket(request_id=f"o{number}", key="old"))
    for _ in range(20):
        waiting.pop()
    for number in range(20):
        waiting.push("new", Ticket(request_id=f"n{number}", key="new"))
    assert Counter(waiting.pop() for _ in range(10)) == {"old": 5, "new": 5}


def test_what_waits_is_bounded():
    """By chunks and by requests; further chunks of a waiting request count as chunks only."""
    waiting = queue(max_requests=2)
    waiting.push(1, Ticket(request_id="a"))
    waiting.push(2, Ticket(request_id="b"))
    waiting.push(3, Ticket(request_id="a"))
    with pytest.raises(QueueFullError):
        waiting.push(4, Ticket(request_id="c"))
    small = queue(max_chunks=1)
    small.push(1, Ticket(request_id="a"))
    with pytest.raises(QueueFullError):
        small.push(2, Ticket(request_id="a"))


tickets = st.builds(
    Ticket,
    request_id=st.sampled_from("abcdef"),
    key=st.sampled_from("xyz"),
    lane=st.sampled_from(list(Lane)),
    weight=st.sampled_from([0.5, 1.0, 4.0]),
    cost_s=st.floats(0.1, 30),
)
steps = st.lists(st.tuples(st.sampled_from(["push", "push", "pop", "discard"]), tickets))


@given(steps)
def test_nothing_is_lost_nothing_comes_twice_and_requests_keep_their_order(steps):
    """Any mixture of pushes, pops and discards; `order` foretells what `pop` does."""
    waiting, inside, popped = queue(), {}, []
    for number, (step, ticket) in enumerate(steps):
        if step == "push":
            item = (number, ticket)
            waiting.push(item, ticket)
            inside[number] = item
        elif step == "pop":
            foretold = next(iter(waiting.order()), None)
            item = waiting.pop()
            assert item == foretold
            if item is not None:
                popped.append(inside.pop(item[0]))
        elif inside:
            assert waiting.discard(inside.pop(next(iter(inside))))
        assert len(waiting) == len(inside)
    foretold = list(waiting.order())
    rest = drain(waiting)
    assert rest == foretold
    assert sorted(item[0] for item in rest) == sorted(inside)
    sequence = {}
    for number, ticket in popped + rest:
        who = (ticket.lane, ticket.key, ticket.request_id)
        assert sequence.get(who, -1) < number
        sequence[who] = number
