"""Who is connected: how many, from where, and who of them waits for a request.

When there is no room left, whoever has waited longest for a request gives way, so that a thousand
connections that say nothing keep nobody out. What is at work is never closed for others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Member(Protocol):
    """A connection. Is compared by identity."""

    def give_way(self) -> None:
        """Close at once, because others need the room."""
        ...


def _nobody(_address: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdLimits:
    """How many connections there may be; None and 0: any number.

    `is_exempt` tells the addresses to which `most_per_client` does not apply.
    """

    most: int | None = None
    most_per_client: int = 0
    is_exempt: Callable[[str], bool] = _nobody

    @property
    def most_refused(self) -> int:
        """How many may be here at a time besides, to be told that there is no room."""
        return max(64, (self.most or 0) // 8)


class Crowd:
    """All connections of a server."""

    def __init__(self, limits: CrowdLimits) -> None:
        self._limits = limits
        self._members: dict[Member, str] = {}
        self._idle: dict[Member, None] = {}  # the one that waits longest is the first
        self._by_address: dict[str, int] = {}
        self._idle_by_address: dict[str, dict[Member, None]] = {}
        self._refused: set[Member] = set()

    def __len__(self) -> int:
        """How many are admitted."""
        return len(self._members)

    @property
    def is_overrun(self) -> bool:
        """Whether not even a refusal can be told to one more."""
        return len(self._refused) >= self._limits.most_refused

    def enter(self, member: Member, address: str) -> bool:
        """Admit one that waits for a request; False: there is no room, and nobody who could go."""
        if not self._has_room_for(address):
            self._refused.add(member)
            return False
        self._members[member] = address
        self._by_address[address] = self._by_address.get(address, 0) + 1
        self.rest(member)
        return True

    def rest(self, member: Member) -> None:
        """Note that an admitted one waits for a request, from now on."""
        address = self._members.get(member)
        if address is not None:
            self.work(member)
            self._idle[member] = None
            self._idle_by_address.setdefault(address, {})[member] = None

    def work(self, member: Member) -> None:
        """Note that a request has come."""
        if member in self._idle:
            del self._idle[member]
            address = self._members[member]
            resting = self._idle_by_address[address]
            del resting[member]
            if not resting:
                del self._idle_by_address[address]

    def leave(self, member: Member) -> None:
        """Forget one, if it is known."""
        self._refused.discard(member)
        self.work(member)
        address = self._members.pop(member, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _has_room_for(self, address: str) -> bool:
        limits = self._limits
        is_own_limit = bool(limits.most_per_client) and not limits.is_exempt(address)
        if is_own_limit and self._by_address.get(address, 0) >= limits.most_per_client:
            return self._make_room(self._idle_by_address.get(address, {}))
        if limits.most is not None and len(self._members) >= limits.most:
            return self._make_room(self._idle)
        return True

    def _make_room(self, resting: dict[Member, None]) -> bool:
        longest = next(iter(resting), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.give_way()
        return True
