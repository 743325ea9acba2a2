"""The life of one engine process as a table. Pure: no clock, no process, no loop.

Whatever ends a run goes through STOPPING, so there is one clean-up. A pause after failures is no
state: nobody waits for its end, and `breaker` tells whether a start is attempted.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class State(enum.StrEnum):
    """Where an engine process is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    CLOSED = "closed"


class Event(enum.StrEnum):
    """What can happen to it."""

    START = "start"
    BECAME_READY = "became_ready"
    LOST = "lost"
    """The start failed, or the child ended unasked."""
    STOP = "stop"
    RETRY = "retry"
    """Its port was taken by another program: start again on another one."""
    GONE = "gone"
    """Nothing of the run is left."""
    CLOSE = "close"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.STOPPED, Event.START): State.STARTING,
        (State.STARTING, Event.BECAME_READY): State.READY,
        (State.STARTING, Event.LOST): State.STOPPING,
        (State.READY, Event.LOST): State.STOPPING,
        (State.STARTING, Event.STOP): State.STOPPING,
        (State.READY, Event.STOP): State.STOPPING,
        (State.STOPPING, Event.RETRY): State.STARTING,
        (State.STOPPING, Event.GONE): State.STOPPED,
        (State.STOPPED, Event.CLOSE): State.CLOSED,
    }
)


def advance(state: State, event: Event) -> State:
    """Return the state after `event`.

    Raises:
        KeyError: the event cannot happen in this state: a bug in the caller.
    """
    return TRANSITIONS[state, event]
