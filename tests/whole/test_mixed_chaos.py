"""Whatever is done to the router, it answers every request once; `make chaos` does it longer."""

import tempfile
from pathlib import Path

import pytest

from support.mixed_chaos import mixed_chaos

pytestmark = pytest.mark.alone


@pytest.mark.timeout(300)
async def test_every_request_is_answered_once_and_nothing_is_left_whatever_happens():
    """One round: each deed of the gremlin once, in the order of this seed, and both ends."""
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        report = await mixed_chaos(Path(name), seed=1, seconds=0, clients=4)
    print("\n".join(report.lines()))
    assert report.broken == []
    assert report.requests["answered with the right text"] > 0
    assert {"SIGKILL of the router", "SIGTERM of the router"} <= report.deeds.keys()
