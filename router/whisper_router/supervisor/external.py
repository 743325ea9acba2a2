"""Stands where a process would, for an engine that has none of ours (another server)."""

from whisper_router.engine_api import Endpoint, ReadyInfo
from whisper_router.supervisor import proctable
from whisper_router.supervisor.connection import Connection, open_upstream_session
from whisper_router.supervisor.machine import State
from whisper_router.tasks import Tasks


class External:
    """Always ready; there is nothing to start, watch or stop. See `process.EngineProcess`."""

    def __init__(self, endpoint: Endpoint, *, alias: str, tasks: Tasks) -> None:
        self.alias = alias
        self.state = State.READY
        self.starts = 0
        self.crashes = 0
        self.failed_starts = 0
        self.start_failure = None
        self.last_error = None
        self.pid = None
        self.ready: ReadyInfo | None = None
        self._connection = Connection(endpoint, open_upstream_session(), tasks=tasks)

    def serving(self) -> Connection | None:
        """Return the session for it."""
        return self._connection if self.state is State.READY else None

    def start(self) -> None:
        """Do nothing."""

    def begin_stop(self) -> None:
        """Do nothing."""

    def discard(self, reason: str) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Close the session once nobody uses it."""
        self.state = State.CLOSED
        await self._connection.retire()

    async def is_settled(self, connection: Connection, *, timeout_s: float) -> bool:
        """Return True: its health is the engine's business."""
        return True

    async def family(self) -> list[proctable.Row]:
        """Return no process."""
        return []

    def output(self) -> None:
        """Return nothing."""
