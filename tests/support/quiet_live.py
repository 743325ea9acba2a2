"""Live sessions that hear what is sent and say nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from whisper_router.live.events import LiveEvent
from whisper_router.live.turns import TurnOptions


class Listener:
    """One for all clients; `samples` is how much it heard."""

    duration_s = silence_s = 0.0
    is_speaking = False
    turns = TurnOptions()

    def __init__(self) -> None:
        self.samples = 0
        self.ended = asyncio.Event()

    @asynccontextmanager
    async def open(self, request) -> AsyncIterator["Listener"]:
        yield self

    def tune(self, turns: TurnOptions) -> None:
        """Change nothing."""

    async def hear(self, samples: np.ndarray) -> None:
        self.samples += len(samples)

    async def end(self) -> None:
        self.ended.set()

    async def events(self) -> AsyncIterator[LiveEvent]:
        await self.ended.wait()
        return
        yield
