"""Chooses among a pool's processes: which one gives a worker, which are to be started."""

from collections.abc import Iterator, Sequence

from whisper_router.supervisor.connection import Connection
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.slot import Slot


def offered(slots: Sequence[Slot]) -> tuple[Slot, Connection] | None:
    """Return a free worker of the process that does least, if there is one.

    Servers that are held off come into question when no other one serves.
    """
    open_to_all = [slot for slot in slots if not slot.is_held_off]
    if not any(slot.process.state is State.READY for slot in open_to_all):
        open_to_all = list(slots)
    for slot in sorted(open_to_all, key=lambda slot: slot.preference):
        if (connection := slot.offer()) is not None:
            return slot, connection
    return None


def to_start(slots: Sequence[Slot], *, waiting: int) -> Iterator[Slot]:
    """Yield processes that those who wait need; each is to be started before the next is asked for.

    To ask a server elsewhere takes nothing here, so all are asked together.
    """
    coming = sum(slot.workers for slot in slots if slot.process.state is State.STARTING)
    for slot in slots:
        if not slot.can_start() or (slot.is_resting and has_hope(slots)):
            continue
        if waiting > coming or (slot.is_remote and waiting):
            yield slot
            coming += slot.workers


def has_hope(slots: Sequence[Slot]) -> bool:
    """Tell whether one serves, or may do so without anybody new asking."""
    return any(slot.is_hopeful() for slot in slots)


def are_held_off(slots: Sequence[Slot]) -> bool:
    """Tell whether there are processes, and none serves or may be started now."""
    return bool(slots) and not any(slot.is_hopeful() or slot.can_start() for slot in slots)


def capacity(slots: Sequence[Slot], *, planned: int) -> int:
    """Return how many leases are of use now: servers elsewhere that are put aside take none."""
    serving = [slot for slot in slots if slot.is_remote and slot.process.serving()]
    return sum(slot.capacity for slot in serving) if serving else planned
