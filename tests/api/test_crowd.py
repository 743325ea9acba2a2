"""Who may stay when there is no room."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from whisper_router.api.crowd import Crowd, CrowdLimits


class Guest:
    """A connection."""

    def __init__(self) -> None:
        self.is_closed = False

    def give_way(self) -> None:
        """Note it."""
        self.is_closed = True


def entered(crowd: Crowd, count: int, address: str = "a") -> list[Guest]:
    guests = [Guest() for _ in range(count)]
    assert all(crowd.enter(guest, address) for guest in guests)
    return guests


def test_who_has_waited_longest_gives_way():
    crowd = Crowd(CrowdLimits(most=3))
    first, second, third = entered(crowd, 3)
    crowd.work(first)
    crowd.rest(second)  # it has had an answer just now
    entered(crowd, 1, "b")
    assert [first.is_closed, second.is_closed, third.is_closed] == [False, False, True]
    assert len(crowd) == 3


def test_nobody_at_work_gives_way():
    crowd = Crowd(CrowdLimits(most=2))
    for guest in entered(crowd, 2):
        crowd.work(guest)
    late = Guest()
    assert not crowd.enter(late, "b")
    assert len(crowd) == 2
    crowd.leave(late)
    assert not crowd.is_overrun


def test_refusals_are_limited_too():
    crowd = Crowd(CrowdLimits(most=1))
    crowd.work(entered(crowd, 1)[0])
    late = [Guest() for _ in range(64)]
    for guest in late:
        assert not crowd.is_overrun
        crowd.enter(guest, "b")
    assert crowd.is_overrun
    crowd.leave(late[0])
    assert not crowd.is_overrun


def test_an_address_makes_room_of_its_own():
    crowd = Crowd(
        CrowdLimits(most=10, most_per_client=2, is_exempt=lambda address: address == "proxy")
    )
    [other] = entered(crowd, 1, "b")
    first, second = entered(crowd, 2)
    entered(crowd, 1)
    assert [other.is_closed, first.is_closed, second.is_closed] == [False, True, False]
    entered(crowd, 5, "proxy")
    assert len(crowd) == 8


class AnyOrder(RuleBasedStateMachine):
    """Connections come, work, rest and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd(CrowdLimits(most=4, most_per_client=3))
        self.guests: list[Guest] = []
        self.at_work: set[Guest] = set()

    @rule(address=st.sampled_from("abc"))
    def enter(self, address: str) -> None:
        guest = Guest()
        if self.crowd.enter(guest, address):
            self.guests.append(guest)

    @rule(number=st.integers(0, 20), what=st.sampled_from(["work", "rest", "leave"]))
    def change(self, number: int, what: str) -> None:
        guest = self.guests[number % len(self.guests)] if self.guests else Guest()
        getattr(self.crowd, what)(guest)
        (self.at_work.add if what == "work" else self.at_work.discard)(guest)
        if what == "leave" and guest in self.guests:
            self.guests.remove(guest)

    @invariant()
    def nobody_is_lost(self) -> None:
        self.guests = [guest for guest in self.guests if not guest.is_closed]
        assert len(self.crowd) == len(self.guests) <= 4
        assert not any(guest.is_closed for guest in self.at_work)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=30)
