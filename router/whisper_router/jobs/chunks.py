"""The chunks of one job, in the store."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from whisper_router.domain import LanguageDetected, Segment
from whisper_router.errors import Unavailable
from whisper_router.jobs.model import Job
from whisper_router.jobs.store import JobStore
from whisper_router.pipeline.plan import PlannedChunk

ChunkEvents = Sequence[LanguageDetected | Segment]

log = structlog.get_logger(__name__)


class StoredChunks:
    """Implements `ChunkMemory`."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        known: Mapping[tuple[int, int], ChunkEvents],
        *,
        on_missing: Callable[[], None],
    ) -> None:
        """`on_missing` is called for each chunk that is to be run."""
        self._store, self._job_id, self._known = store, job.id, known
        self.work = f"{job.id} {job.created_s!r}"  # clients choose ids, and may do so again
        self._on_missing = on_missing

    async def recall(self, planned: PlannedChunk) -> ChunkEvents | None:
        """Return what the chunk gave."""
        found = self._known.get((planned.start, planned.end))
        if found is None:
            self._on_missing()
        return found

    async def keep(self, planned: PlannedChunk, events: ChunkEvents) -> None:
        """Keep what the chunk gave. Where that cannot be, it is run again after a restart."""
        try:
            await self._store.keep_chunk(self._job_id, planned.start, planned.end, events)
        except Unavailable as error:
            log.warning("chunk_not_kept", job=self._job_id, reason=str(error))
