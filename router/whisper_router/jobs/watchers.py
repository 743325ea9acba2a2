"""Who wants to know when a job changes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watchers:
    """Events by job."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the job changes; the caller clears it."""
        changed = asyncio.Event()
        events = self._events.setdefault(job_id, set())
        events.add(changed)
        try:
            yield changed
        finally:
            events.discard(changed)
            if not events:
                self._events.pop(job_id, None)

    def tell(self, job_id: str) -> None:
        """Note that a job has changed."""
        for changed in self._events.get(job_id, ()):
            changed.set()
