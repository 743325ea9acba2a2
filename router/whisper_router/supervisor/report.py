"""Sums up what is known of a pool's processes."""

from collections.abc import Sequence

from whisper_router.supervisor.breaker import most_willing
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.output import OutputRing
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.slot import Slot
from whisper_router.supervisor.status import PoolBrief


def common_state(slots: Sequence[Slot]) -> State:
    """Return the state of the process that is nearest to serving."""
    states = {slot.process.state for slot in slots}
    order = (State.READY, State.STARTING, State.STOPPING)
    return next((state for state in order if state in states), State.STOPPED)


def brief(
    spec: PoolSpec, slots: Sequence[Slot], *, state: State, plan_error: str | None
) -> PoolBrief:
    """Return what is known of the pool at this moment."""
    processes = [slot.process for slot in slots]
    errors = [*(process.last_error for process in processes), plan_error]
    ready = [process.ready for process in processes if process.ready is not None]
    failures = (
        [] if ready else [*filter(None, map(_start_failure, slots)), *filter(None, [plan_error])]
    )
    requested = getattr(spec.options, "acceleration", None)
    return PoolBrief(
        state=state,
        requested=None if requested is None else str(requested),
        ready=next(iter(ready), None),
        start_error=next(iter(failures), None),
        last_error=next((error for error in errors if error is not None), None),
        memory_bytes=sum(slot.size_bytes for slot in slots if slot.process.ready),
        gpu_memory_bytes=sum(
            slot.footprint.gpu_bytes for slot in slots if slot.footprint and slot.process.ready
        ),
        breaker=most_willing(slot.breaker for slot in slots),
        leases=sum(slot.leases for slot in slots),
        workers=sum(slot.workers for slot in slots),
        starts=sum(process.starts for process in processes),
        crashes=sum(process.crashes for process in processes),
        recycles=sum(slot.recycles for slot in slots),
    )


def _start_failure(slot: Slot) -> str | None:
    """Return why its last start failed; while the next one is on its way that is not forgotten."""
    if slot.process.start_failure is not None:
        return str(slot.process.start_failure)
    return slot.process.last_error if slot.breaker.failures else None


def idle_s(slots: Sequence[Slot]) -> float | None:
    """Return for how long nobody has used the processes; None: none serves, or somebody does."""
    if any(slot.leases for slot in slots):
        return None
    return min((slot.idle_s for slot in slots if slot.idle_s is not None), default=None)


def unloads_in_s(slots: Sequence[Slot]) -> float | None:
    """Return in how many seconds the last process is unloaded for being idle; None: it is not."""
    serving = [slot.unloads_in_s for slot in slots if slot.process.state is State.READY]
    times = [time_s for time_s in serving if time_s is not None]
    return max(times) if times and len(times) == len(serving) else None


def rings(slots: Sequence[Slot]) -> list[OutputRing]:
    """Return what the processes print, as far as there are any."""
    return [ring for slot in slots for ring in slot.process.outputs()]


def tail(slots: Sequence[Slot], lines: int) -> list[str]:
    """Return the last lines of each process, one process after the other."""
    printed = ([line for ring in rings([slot]) for line in ring.tail(lines)] for slot in slots)
    return [line for of_one in printed for line in (of_one[-lines:] if lines else [])]
