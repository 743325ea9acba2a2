"""What running jobs needs of others, and its limits."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from whisper_router.audio.fetch_url import FetchedAudio
from whisper_router.domain import Transcript, TranscriptEvent, TranscriptionRequest
from whisper_router.jobs.model import Job
from whisper_router.pipeline.chunk_memory import ChunkMemory
from whisper_router.pipeline.progress import Tracker
from whisper_router.pipeline.transcribe import MediaSource

InUse = Callable[[str, float | None], AbstractContextManager[None]]
"""Notes that a model is used until the block ends, and how long it is to stay afterwards."""
Notice = Callable[[Job, Transcript | None], Mapping[str, Any]]
"""Makes the body of a webhook of an ended job. May be called in a thread."""


class Transcriber(Protocol):
    """Turns audio into events (`pipeline.transcribe`)."""

    def run(
        self,
        request: TranscriptionRequest,
        media: MediaSource,
        tracker: Tracker | None = None,
        memory: ChunkMemory = ...,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield events; closing the generator ends all work. Raises RouterError."""
        ...


class Fetcher(Protocol):
    """Fetches audio that is elsewhere (`audio.fetch_url`)."""

    async def fetch(self, url: str, target: Path) -> FetchedAudio:
        """Fetch an address to a new file. Raises RouterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """How jobs run and what is kept of them.

    No more than `max_queued` may wait. Results are erased after `keep_s`; with `keep_audio` the
    audio is kept as long, else it goes with the job's end. What is unavailable is tried
    `max_attempts` times. Audio is fetched for `max_fetching` jobs at a time, for
    `max_fetching_per_key` of one owner. After an error of the store nothing is done for
    `hold_off_s`. Every `sweep_s` jobs are looked for whose time is over.
    """

    max_running: int
    max_queued: int
    keep_s: float
    keep_audio: bool = False
    max_attempts: int = 20
    max_fetching: int = 8
    max_fetching_per_key: int = 4
    hold_off_s: float = 5.0
    sweep_s: float = 60.0
