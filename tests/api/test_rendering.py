"""Work on long results."""

import asyncio
import threading

import pytest

from whisper_router.api.rendering import Rendering


async def test_only_so_much_is_done_at_a_time():
    """Not in the event loop's thread."""
    now, most, lock = [0], [0], threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def work(number: int, *, add: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both.wait()
        with lock:
            now[0] -= 1
        return number + add

    rendering = Rendering(2)
    done = await asyncio.gather(*(rendering.run(work, number, add=1) for number in range(6)))
    assert done == [1, 2, 3, 4, 5, 6]
    assert most[0] == 2


async def test_what_fails_gives_its_place_back():
    """The error is the caller's."""
    rendering = Rendering(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await rendering.run(lambda: 1 / 0)
