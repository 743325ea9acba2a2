"""What is known of a request's chunks from a time before: a job that goes on after a restart."""

from collections.abc import Sequence
from typing import Protocol

from whisper_router.domain import LanguageDetected, Segment
from whisper_router.pipeline.plan import PlannedChunk


class ChunkMemory(Protocol):
    """The results of one request's chunks. The same audio is always planned in the same way."""

    @property
    def work(self) -> str:
        """What no other request is ever named; empty: it is not known which one this is."""
        ...

    async def recall(self, planned: PlannedChunk) -> Sequence[LanguageDetected | Segment] | None:
        """Return what the chunk gave, on the timeline of the request; None: it is to be run."""
        ...

    async def keep(
        self, planned: PlannedChunk, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Remember all that the chunk gave."""
        ...


class _NoMemory:
    work = ""

    async def recall(self, planned: PlannedChunk) -> None:
        """Return None."""
        del planned

    async def keep(
        self, planned: PlannedChunk, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Forget it."""


NO_MEMORY: ChunkMemory = _NoMemory()
