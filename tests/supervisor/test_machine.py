"""The table of states, by its properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.supervisor.machine import TRANSITIONS, Event, State, advance


def choices(state: State) -> list[Event]:
    """Return the events that can happen in a state."""
    return [event for origin, event in TRANSITIONS if origin is state]


@given(st.lists(st.integers(min_value=0), max_size=60))
def test_any_life_can_still_be_closed_and_then_nothing_happens_any_more(picks):
    """Wherever legal events lead, stop and close are at most three events away."""
    state = State.STOPPED
    for pick in picks:
        if not (events := choices(state)):
            break
        state = advance(state, events[pick % len(events)])
    if state in (State.STARTING, State.READY):
        state = advance(state, Event.STOP)
    if state is State.STOPPING:
        state = advance(state, Event.GONE)
    if state is State.STOPPED:
        state = advance(state, Event.CLOSE)
    assert state is State.CLOSED
    assert choices(state) == []


@given(st.sampled_from(State), st.sampled_from(Event))
def test_an_event_that_is_not_in_the_table_is_a_bug(state, event):
    """Nothing is ignored silently."""
    if (state, event) in TRANSITIONS:
        assert advance(state, event) in State
    else:
        with pytest.raises(KeyError):
            advance(state, event)


def test_every_state_can_be_reached():
    """No row is dead."""
    reached, before = {State.STOPPED}, None
    while reached != before:
        before = set(reached)
        reached |= {target for (origin, _), target in TRANSITIONS.items() if origin in before}
    assert reached == set(State)


def test_only_a_starting_process_becomes_ready_and_only_a_cleaned_up_one_is_stopped():
    """There is one way into READY and one into STOPPED."""
    ways = {target: set() for target in State}
    for (origin, _), target in TRANSITIONS.items():
        ways[target].add(origin)
    assert ways[State.READY] == {State.STARTING}
    assert ways[State.STOPPED] == {State.STOPPING}
