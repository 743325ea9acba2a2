"""Work for clients, while it is done and for a while after: what it is, how it went, its cancel."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType

from whisper_router.errors import RequestCancelled, RouterError
from whisper_router.pipeline.progress import Tracker
from whisper_router.scheduling.dispatch import FirstTurn

KEPT = 500
"""How many that have ended are remembered."""
OK, CLIENT_LEFT, BUG = 200, 499, 500
LONGEST_NAME = 200


class Kind(StrEnum):
    """What sort of work it is."""

    TRANSCRIPTION = "transcription"
    JOB = "job"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What asked for the work. `owner` is the name of its key, `path` the route's."""

    id: str
    kind: Kind
    owner: str
    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Work that has ended. Times are Unix time; nothing tells what was said or in which file.

    `work_s` is how long the work itself took, without what came before it: the upload, the wait.
    `status` is the HTTP status of the answer or, if a stream or a session failed, of its error.
    """

    origin: Origin
    model: str | None
    status: int
    code: str | None
    audio_s: float | None
    work_s: float | None
    wait_s: float | None
    started_s: float
    ended_s: float

    @property
    def rtf(self) -> float | None:
        """Time of the work ÷ time of the audio."""
        if not self.audio_s or self.work_s is None:
            return None
        return self.work_s / self.audio_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a live session listens with, and how many seconds of audio it was sent."""

    model: str | None
    audio_s: float


class Activity:
    """Work that goes on. Whoever does it fills in what is known of it.

    `status` is what it ends with if nothing fails; `left_status`, if the client leaves.
    `ticket_id` names it in the queues.
    """

    def __init__(self, origin: Origin, *, started_s: float, clock: Callable[[], float]) -> None:
        self.origin, self.started_s = origin, started_s
        self.ticket_id = origin.id
        self.status, self.left_status = OK, CLIENT_LEFT
        self.code: str | None = None
        self.tracker: Tracker | None = None
        self.first: FirstTurn | None = None
        self.look: Callable[[], Look] | None = None
        self.is_forgotten = False
        """Nothing of it is kept: what it has begun is work of its own."""
        self.ended = asyncio.Event()
        self._model: str | None = None
        self._clock, self._began_s = clock, clock()
        self._scopes: list[_Scope] = []
        self._is_cancelled = self._is_sealed = False

    @property
    def elapsed_s(self) -> float:
        """For how long it has been going on."""
        return self._clock() - self._began_s

    @property
    def model(self) -> str | None:
        """The model that it names, as far as that is known."""
        return self._model if self.look is None else self.look().model

    @model.setter
    def model(self, name: str | None) -> None:
        self._model = None if name is None else name[:LONGEST_NAME]

    @property
    def audio_s(self) -> float | None:
        """How much audio it has, as far as that is known."""
        if self.look is not None:
            return self.look().audio_s
        return None if self.tracker is None else self.tracker.report.duration_s

    @property
    def is_cancellable(self) -> bool:
        """Whether `cancel` would end it."""
        return bool(self._scopes) and not self._is_cancelled and not self._is_sealed

    def cancel(self) -> bool:
        """End the work: its client gets RequestCancelled. False: it was about to end anyhow."""
        if self._is_cancelled:
            return True
        if not self.is_cancellable:
            return False
        self._is_cancelled = True
        self._scopes[-1].cancel()
        return True

    def fail(self, error: RouterError) -> None:
        """Note with what error it ends."""
        self.status, self.code = error.status, error.code

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Have `cancel` end what the calling task does in the block, or in the innermost of them.

        Raises:
            RequestCancelled: it did. That the task itself is cancelled, because the client has
                left or the server stops, stays CancelledError, also in the same instant.
        """
        scope = _Scope()
        self._scopes.append(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.remove(scope)

    @contextmanager
    def last_cancellable(self) -> Iterator[None]:
        """Do the same; after the block nothing can be cancelled: the answer is under way."""
        try:
            with self.cancellable():
                yield
        finally:
            self._is_sealed = True

    def end(self) -> Ended:
        """Return what is kept of it."""
        took_s = self.elapsed_s
        self.ended.set()
        return Ended(
            origin=self.origin,
            model=self.model,
            status=self.status,
            code=self.code,
            audio_s=self.audio_s,
            work_s=self._work_s(),
            wait_s=self._wait_s(),
            started_s=self.started_s,
            ended_s=self.started_s + took_s,  # no clock that is set meanwhile has a part in it
        )

    def _wait_s(self) -> float | None:
        return None if self.first is None else self.first.waited_s

    def _work_s(self) -> float | None:
        if self.tracker is None or self.tracker.received_at_s is None:
            return None
        work_s = time.monotonic() - self.tracker.received_at_s - (self._wait_s() or 0.0)
        return max(0.0, work_s)


class _Scope:
    """Cancels the task that is in it, and tells that from other cancellations (asyncio.timeout)."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._is_cancelled = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is not None:
            self._before = self._task.cancelling()

    def cancel(self) -> None:
        if self._task is not None:
            self._is_cancelled = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is None or not self._is_cancelled:
            return
        is_alone = self._task.uncancel() <= self._before
        if is_alone and isinstance(error, asyncio.CancelledError):
            raise RequestCancelled("An administrator or its owner cancelled this.") from error


class ActivityBoard:
    """All work that goes on, and the latest that has ended."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._unix = clock, unix
        self._running: dict[str, Activity] = {}
        self._history: deque[Ended] = deque(maxlen=KEPT)

    @contextmanager
    def note(self, origin: Origin) -> Iterator[Activity]:
        """Show the work until the block ends, and then how it went. It can be cancelled."""
        activity = Activity(self._unlike(origin), started_s=self._unix(), clock=self._clock)
        activity.ticket_id = origin.id
        self._running[activity.origin.id] = activity
        try:
            with activity.cancellable():
                yield activity
        except RouterError as error:
            activity.fail(error)
            raise
        except asyncio.CancelledError:
            activity.status = activity.left_status
            raise
        except Exception:
            activity.status = BUG
            raise
        finally:
            del self._running[activity.origin.id]
            ended = activity.end()
            if not activity.is_forgotten:
                self.add(ended)

    def add(self, ended: Ended) -> None:
        """Remember what has ended, in the place of the oldest if there are `KEPT`."""
        self._history.append(ended)

    def find(self, activity_id: str, *, owner: str | None) -> Activity | None:
        """Return what goes on under an id; `owner` None: whoever's it is."""
        found = self._running.get(activity_id)
        return found if found is not None and owner in {None, found.origin.owner} else None

    def running(self, *, owner: str | None) -> Sequence[Activity]:
        """Return what goes on, the newest first."""
        return [
            item for item in reversed(self._running.values()) if owner in {None, item.origin.owner}
        ]

    def history(self, *, owner: str | None, limit: int = KEPT) -> Sequence[Ended]:
        """Return what has ended, the latest first."""
        mine = [item for item in reversed(self._history) if owner in {None, item.origin.owner}]
        return mine[:limit]

    def _unlike(self, origin: Origin) -> Origin:
        """Return the origin with an id that nothing else has: clients choose theirs themselves."""
        taken, number = origin.id, 1
        while taken in self._running:
            number += 1
            taken = f"{origin.id}~{number}"
        return replace(origin, id=taken)
