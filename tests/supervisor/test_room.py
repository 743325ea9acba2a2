"""Who leaves for whom: decisions over values, without processes."""

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.supervisor.room import Occupant, make_room


def occupant(key: str, size: int, **fields) -> Occupant[str]:
    known = {
        "is_settled": True,
        "is_leaving": False,
        "is_wanted": False,
        "since_s": 0.0,
        "used_s": 0.0,
    }
    return Occupant(key=key, size_bytes=size, **known | fields)


def decide(need: int, *occupants: Occupant[str], budget: int = 10, residency_s: float = 5.0):
    return make_room(need, budget, occupants, now_s=100.0, min_residency_s=residency_s)


def test_what_fits_comes():
    """Nobody has to leave for it."""
    assert decide(4, occupant("a", 6)).fits
    assert not decide(4, occupant("a", 7)).fits


def test_the_least_recently_used_leaves_first():
    """Not the one that came first."""
    verdict = decide(
        5,
        occupant("a", 5, since_s=1.0, used_s=90.0),
        occupant("b", 5, since_s=2.0, used_s=20.0),
    )
    assert (verdict.fits, verdict.leave) == (False, ["b"])


def test_nobody_leaves_for_nothing():
    """The small one that was used longest ago would not help beside the large one."""
    verdict = decide(8, occupant("small", 1, used_s=1.0), occupant("large", 9, used_s=50.0))
    assert verdict.leave == ["large"]


def test_nobody_leaves_when_it_would_not_be_enough():
    """The pinned one stays."""
    verdict = decide(8, occupant("a", 4), occupant("pinned", 6, is_settled=False))
    assert (verdict.fits, verdict.leave, verdict.again_s) == (False, (), None)


def test_who_is_leaving_already_is_waited_for():
    """No second one has to go."""
    verdict = decide(5, occupant("a", 5, is_leaving=True), occupant("b", 5))
    assert (verdict.fits, verdict.leave) == (False, ())


def test_one_that_is_wanted_stays_for_its_residency():
    """And it is worth looking again when that is over."""
    verdict = decide(8, occupant("a", 8, is_wanted=True, since_s=97.0))
    assert (verdict.leave, verdict.again_s) == ((), 102.0)
    verdict = decide(8, occupant("a", 8, is_wanted=True, since_s=95.0))
    assert verdict.leave == ["a"]


def test_one_that_nobody_wants_leaves_at_once_and_before_those_that_are_wanted():
    """However short it has been there."""
    verdict = decide(
        5,
        occupant("wanted", 5, is_wanted=True, since_s=0.0),
        occupant("idle", 5, since_s=99.9, used_s=99.9),
    )
    assert verdict.leave == ["idle"]


OCCUPANTS = st.lists(
    st.builds(
        Occupant,
        key=st.integers(),
        size_bytes=st.integers(0, 10),
        is_settled=st.booleans(),
        is_leaving=st.booleans(),
        is_wanted=st.booleans(),
        since_s=st.floats(0, 100),
        used_s=st.floats(0, 100),
    ),
    max_size=6,
    unique_by=lambda o: o.key,
)


@given(OCCUPANTS, st.integers(0, 20), st.integers(0, 40))
def test_a_decision_is_never_more_than_is_needed(occupants, need, budget):
    """Who leaves makes enough room, each is needed, settled, not on its way, and due."""
    verdict = make_room(need, budget, occupants, now_s=100.0, min_residency_s=5.0)
    used = sum(o.size_bytes for o in occupants)
    assert verdict.fits == (need <= budget - used)
    leaving = [o for o in occupants if o.key in verdict.leave]
    coming = sum(o.size_bytes for o in occupants if o.is_leaving)
    if leaving:
        free = budget - used + coming + sum(o.size_bytes for o in leaving)
        assert need <= free
        assert all(free - o.size_bytes < need for o in leaving)
    for o in leaving:
        assert o.is_settled
        assert not o.is_leaving
        assert not o.is_wanted or 100.0 - o.since_s >= 5.0
    assert verdict.again_s is None or 100.0 <= verdict.again_s <= 105.0
