"""How a request says which way it came."""

import pytest

from support.arriving import arrived
from whisper_router.api.relay import MAX_HOPS, PSEUDONYM, check_hops, via
from whisper_router.errors import LoopDetected

OTHER = "1.1 whisper-router-0123456789ab"


def headers(*hops: str) -> list[tuple[str, str]]:
    return [("Via", hop) for hop in hops]


async def test_every_router_adds_itself():
    """Behind those before it, and behind other proxies."""
    assert await arrived(via) == f"1.1 {PSEUDONYM}"
    assert await arrived(via, headers("1.1 nginx", OTHER)) == f"1.1 nginx, {OTHER}, 1.1 {PSEUDONYM}"


@pytest.mark.parametrize("hops", [(), (OTHER,), ("1.1 nginx",) * 20, (f"{OTHER}, 1.1 caddy",)])
async def test_what_comes_from_elsewhere_is_let_through(hops):
    """Other proxies are no matter of ours."""
    await arrived(check_hops, headers(*hops))


@pytest.mark.parametrize(
    "hops",
    [
        (f"1.1 {PSEUDONYM}",),
        ("1.1 nginx", f"{OTHER}, 1.1 {PSEUDONYM}, 1.1 caddy"),
        (OTHER,) * MAX_HOPS,
    ],
)
async def test_what_was_here_before_is_refused(hops):
    """A circle, or a chain so long that it must be one."""
    with pytest.raises(LoopDetected):
        await arrived(check_hops, headers(*hops))
