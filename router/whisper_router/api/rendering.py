"""Work on long results: it takes a second, so it is done in threads, and not in many at once."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from whisper_router.domain import Transcript

AT_ONCE = 2
LONG = 50
"""Segments that are written in 5 ms at most, for which the event loop may be kept."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Rendering:
    """A few threads that requests have to share."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places = asyncio.Semaphore(at_once)

    async def run(
        self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Return what `work` returns, once there is room for it."""
        async with self._places:
            return await asyncio.to_thread(work, *args, **kwargs)

    async def write(
        self,
        transcript: Transcript,
        work: Callable[Given, Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Return what `work` makes of a transcript; short ones are not worth a thread."""
        if len(transcript.segments) <= LONG:
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)
