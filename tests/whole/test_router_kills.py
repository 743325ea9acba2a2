"""A router that is killed outright leaves nothing behind; `make chaos` kills it more often."""

import random
from statistics import median

import pytest

from support.router_kills import LEAST_CHILDREN, kill_once, left_after_next_start

pytestmark = pytest.mark.alone

KILLS = 4
GONE_S = 20.0
"""How long a busy machine may take to end what nothing else would end; `make chaos` allows 1 s."""
USUAL_S = 1.0


@pytest.mark.timeout(180)
def test_nothing_outlives_a_killed_router_and_the_next_one_finds_nothing_stale(tmp_path):
    """While engines load and while they serve: no process, no socket, no spool."""
    dice = random.Random(7)
    deaths = [kill_once(tmp_path, dice=dice, gone_s=GONE_S) for _ in range(KILLS)]
    assert [death.orphans for death in deaths] == [0] * KILLS
    assert median(death.gone_s for death in deaths) <= USUAL_S
    assert sum(death.children for death in deaths) >= LEAST_CHILDREN * KILLS
    assert left_after_next_start(tmp_path) == []
