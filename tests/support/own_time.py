"""A loop whose clock a test can put forward, so that time limits end when the test wants it."""

import asyncio


class OwnTime(asyncio.SelectorEventLoop):
    """Its limits may be long, for slow machines, and nobody has to wait for them.

    Only what the loop measures is meant: timers, `asyncio.timeout`, `asyncio.sleep`.
    """

    ahead_s = 0.0

    def time(self) -> float:
        """Return the time of the loop, in seconds."""
        return super().time() + self.ahead_s


def pass_s(seconds: float) -> None:
    """Let time pass, at once, for everything in the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, OwnTime), "the test needs @pytest.mark.own_time"
    loop.ahead_s += seconds
