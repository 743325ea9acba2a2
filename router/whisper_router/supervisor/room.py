"""Who has to leave so that somebody else fits into memory. Pure: a decision over values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant(Generic[K]):
    """A process that takes memory, or has it reserved.

    `is_settled`: it serves, so it could leave; one that starts or is pinned is not. `is_leaving`:
    it has been asked to. `is_wanted`: somebody uses it, or waits for it. Times are monotonic.
    """

    key: K
    size_bytes: int
    is_settled: bool
    is_leaving: bool
    is_wanted: bool
    since_s: float
    used_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Generic[K]):
    """What to do about one that wants to come.

    `fits`: it may come now. Otherwise `leave` are to be asked to leave, and it is worth looking
    again when anything has changed, or at `again_s`.
    """

    fits: bool
    leave: Sequence[K] = ()
    again_s: float | None = None


def make_room(
    need_bytes: float,
    budget_bytes: float,
    occupants: Sequence[Occupant[K]],
    *,
    now_s: float,
    min_residency_s: float,
) -> Verdict[K]:
    """Decide about a process of `need_bytes`.

    Those that nobody wants leave first, the least recently used one before the others; then those
    that are wanted, the one that came first before the others, once they have been there for
    `min_residency_s`: two that are always wanted take turns instead of chasing each other away.
    """
    free = budget_bytes - sum(occupant.size_bytes for occupant in occupants)
    if need_bytes <= free:
        return Verdict(fits=True)
    coming_free = sum(occupant.size_bytes for occupant in occupants if occupant.is_leaving)
    missing = need_bytes - free - coming_free
    if missing <= 0:
        return Verdict(fits=False)
    movable = [
        occupant for occupant in occupants if occupant.is_settled and not occupant.is_leaving
    ]
    idle = sorted((o for o in movable if not o.is_wanted), key=lambda o: o.used_s)
    wanted = sorted((o for o in movable if o.is_wanted), key=lambda o: o.since_s)
    due = [o for o in wanted if now_s - o.since_s >= min_residency_s]
    if (chosen := _enough([*idle, *due], missing)) is not None:
        return Verdict(fits=False, leave=[occupant.key for occupant in chosen])
    if _enough([*idle, *wanted], missing) is None:
        return Verdict(fits=False)
    again_s = min(o.since_s for o in wanted if o not in due) + min_residency_s
    return Verdict(fits=False, again_s=again_s)


def _enough(candidates: Sequence[Occupant[K]], missing: float) -> list[Occupant[K]] | None:
    """Return the first candidates that free `missing`, without those that are not needed."""
    chosen: list[Occupant[K]] = []
    for occupant in candidates:
        if sum(o.size_bytes for o in chosen) >= missing:
            break
        chosen.append(occupant)
    if sum(o.size_bytes for o in chosen) < missing:
        return None
    for occupant in list(chosen):
        if sum(o.size_bytes for o in chosen) - occupant.size_bytes >= missing:
            chosen.remove(occupant)
    return chosen
