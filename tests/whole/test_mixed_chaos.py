"""Whatever is done to the router, it answers every request once; `make chaos` does it longer."""

import tempfile
from pathlib import Path

import pytest

from support.mixed_chaos import mixed_chaos

pytestmark = pytest.mark.alone

GONE_S = 20.0
"""How long a busy machine may take to end what nothing else would end; `make chaos` allows 1 s."""


@pytest.mark.timeout(300)
async def test_every_request_is_answered_once_and_nothing_is_left_whatever_happens():
    """One round: each deed of the gremlin once, in the order of this seed, and both ends."""
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        report = await mixed_chaos(Path(name), seed=1, seconds=0, clients=4, gone_s=GONE_S)
    print("\n".join(report.lines()))
    assert report.broken == []
    assert report.requests["answered with the right text"] > 0
    assert {"SIGKILL of the router", "SIGTERM of the router"} <= report.deeds.keys()
