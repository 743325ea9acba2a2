"""How far each request is, for who asks from outside of it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

KEPT_S = 60.0
"""How long a request that has ended can still be asked about."""
MAX_ENTRIES = 10_000


class Stage(StrEnum):
    """Where a request is."""

    RECEIVING = "receiving"
    FETCHING = "fetching"
    DECODING = "decoding"
    WAITING = "waiting"
    TRANSCRIBING = "transcribing"
    DONE = "done"
    FAILED = "failed"


ENDED = frozenset({Stage.DONE, Stage.FAILED})
ARRIVING = frozenset({Stage.RECEIVING, Stage.FETCHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of a request. Seconds are of audio. None is: not known yet.

    `owner` is the name of the key that sent it. `duration_s` is what the file says of its length
    until it is decoded. `speech_s` is what has to be transcribed, as far as that was found;
    `left_s` is the audio in which it was not looked for yet.
    """

    owner: str
    stage: Stage = Stage.RECEIVING
    duration_s: float | None = None
    decoded_s: float = 0.0
    speech_s: float | None = None
    left_s: float | None = None
    done_s: float = 0.0
    least_percent: float = 0.0

    @property
    def percent(self) -> float:
        """How much of the speech is done, 0 to 100.

        What was not looked at yet counts as speech; it is 0 for as long as nobody knows how much
        that is. It never goes back, also when a file turns out to be longer than it says.
        """
        if self.stage is Stage.DONE:
            return 100.0
        if not self.speech_s or self.left_s is None:
            return self.least_percent
        share = self.done_s / (self.speech_s + self.left_s)
        return max(self.least_percent, round(min(99.9, 100 * share), 1))


class Tracker:
    """The report of one request. Its request writes it; anybody may wait for a change.

    `began_s` tells when, in Unix time, each stage was reached first; `received_at_s`, on the
    monotonic clock, when the audio was there.
    """

    def __init__(self, owner: str) -> None:
        self.report = Report(owner=owner)
        self.began_s: dict[Stage, float] = {self.report.stage: time.time()}
        self.ended_s: float | None = None
        self.received_at_s: float | None = None
        self._changed = asyncio.Event()

    def update(self, **changes: object) -> None:
        """Change some of the report's fields."""
        least = self.report.percent
        self.report = replace(self.report, **changes, least_percent=least)  # type: ignore[arg-type]
        self.began_s.setdefault(self.report.stage, time.time())
        if self.received_at_s is None and self.report.stage not in ARRIVING:
            self.received_at_s = time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return after the next change."""
        await self._changed.wait()


class ProgressBoard:
    """The trackers of all requests by owner and id, and for a while those that have ended.

    Clients choose their ids, so two of them may choose the same one.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trackers: OrderedDict[tuple[str, str], Tracker] = OrderedDict()

    @contextmanager
    def track(self, request_id: str, *, owner: str) -> Iterator[Tracker]:
        """Track a request until the block ends; it failed if the block raises."""
        self._forget_old()
        tracker = self._trackers[owner, request_id] = Tracker(owner)
        self._trackers.move_to_end((owner, request_id))
        try:
            yield tracker
        except BaseException:
            tracker.update(stage=Stage.FAILED)
            raise
        else:
            if tracker.report.stage not in ENDED:
                tracker.update(stage=Stage.DONE)
        finally:
            tracker.ended_s = self._clock()

    def find(self, request_id: str, *, owner: str) -> Tracker | None:
        """Return the tracker of the owner's request that runs, or ended a short while ago."""
        self._forget_old()
        return self._trackers.get((owner, request_id))

    def running(self) -> int:
        """Return how many requests run."""
        return sum(tracker.ended_s is None for tracker in self._trackers.values())

    def _forget_old(self) -> None:
        limit_s = self._clock() - KEPT_S
        for name, tracker in list(self._trackers.items()):
            if tracker.ended_s is None:
                continue
            if tracker.ended_s < limit_s or len(self._trackers) > MAX_ENTRIES:
                del self._trackers[name]
