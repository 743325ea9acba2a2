"""What a job is. Times are Unix time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from whisper_router.audio.media import PcmFormat
from whisper_router.domain import TranscriptionRequest

LONGEST_WAIT_S = 60.0
"""How long at most a job waits before what was unavailable is tried again."""
Json = Mapping[str, Any]


class JobStatus(StrEnum):
    """Where a job is. The last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAudio:
    """Where a job's audio is: a file in the jobs' own directory, an address, or erased by now.

    `name` is what the client called it. `pcm` is set for raw samples without a container.
    """

    path: Path | None = None
    url: str | None = None
    name: str = ""
    pcm: PcmFormat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Whom to tell when the job has ended. `secret` signs what is sent; None: it is not signed."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. `owner` is the name of the key that made it. `options` are its dialect's own.

    `error` is the error body of one that failed. `attempts` counts how often it was begun,
    `failures` how often it was put off because something was unavailable; it is not begun again
    before `not_before_s`. `percent` is how far it was when it ended. `keep_alive_s` is how long the
    engine is to stay afterwards (None: as it is configured). `fingerprint` tells what the
    idempotency key stands for.
    """

    id: str
    owner: str
    status: JobStatus
    request: TranscriptionRequest
    audio: JobAudio
    options: Json = field(default_factory=dict)
    webhook: Webhook | None = None
    idempotency_key: str | None = None
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    duration_s: float | None = None
    error: Json | None = None
    attempts: int = 0
    failures: int = 0
    not_before_s: float | None = None
    percent: float = 0.0
    keep_alive_s: float | None = None
    fingerprint: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @property
    def is_elsewhere(self) -> bool:
        """Whether its audio is still to be fetched."""
        return self.audio.path is None and self.audio.url is not None and not self.has_ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook call that is to be made, or was. `id` is the same at every attempt.

    `log` holds an entry for each attempt: when, the status or the error.
    """

    id: str
    job_id: str
    webhook: Webhook
    body: str
    attempts: int = 0
    next_s: float | None = 0.0
    delivered_s: float | None = None
    log: Sequence[Json] = ()
