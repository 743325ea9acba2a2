"""What the handlers ask of the parts behind them, as protocols that `app` fulfils."""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from whisper_router.audio.fetch_url import FetchedAudio
from whisper_router.audio.media import Span, VadOptions
from whisper_router.audio.spool import Spool
from whisper_router.domain import (
    SpeakerOptions,
    Transcript,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.jobs.model import Job
from whisper_router.jobs.store import JobStore
from whisper_router.live.turns import TurnOptions
from whisper_router.models.download import DownloadProgress, OnProgress
from whisper_router.pipeline.live import LiveRun
from whisper_router.pipeline.progress import Tracker
from whisper_router.pipeline.transcribe import MediaSource
from whisper_router.pipeline.turns import SpeakerTurns
from whisper_router.scheduling.dispatch import FirstTurn, Waiting
from whisper_router.supervisor.budgets import MemoryUse
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolBrief, PoolStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """What the server says of itself. `docs` is where a person can read on."""

    name: str
    version: str
    docs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model as `/v1/models` lists it. `created` is Unix time; `extra` may add keys.

    `languages` are the codes of those that it hears.
    """

    id: str
    created: int
    owned_by: str
    languages: Sequence[str] = ()
    extra: Mapping[str, object] = field(default_factory=dict)


class ModelDirectory(Protocol):
    """The names that requests may use."""

    def check(self, name: str) -> None:
        """Raise ModelNotFound if requests may not use `name`. Never waits."""
        ...

    def alias(self, name: str) -> str:
        """Return the one name of the model that a name means. Raises ModelNotFound."""
        ...

    def failing(self) -> Sequence[str]:
        """Return the models whose engines are left alone because they do not start."""
        ...

    def in_use(self, name: str, keep_alive_s: float | None) -> AbstractContextManager[None]:
        """Note that a request uses the model until the block ends.

        When the last one has ended, its engine is unloaded after `keep_alive_s` in which nobody
        used it; infinity: never, None: as it is configured.
        """
        ...

    async def models(self) -> Sequence[ModelEntry]:
        """Return what to list."""
        ...

    async def model(self, name: str) -> ModelEntry:
        """Return the entry for a name, listed or not. Raises ModelNotFound."""
        ...

    async def catalogue(self) -> Sequence[ModelEntry]:
        """Return every model that requests may name, by its own name, whether it is here or not."""
        ...

    def loaded(self) -> Sequence[str]:
        """Return the models that an engine serves now."""
        ...

    async def load(self, name: str) -> bool:
        """Return once an engine serves the model; False: one did before. Raises RouterError."""
        ...

    async def unload(self, name: str) -> bool:
        """Stop the model's engine; False: there was none.

        Raises ModelNotFound, ModelInUse, or PermissionDenied for one that runs elsewhere.
        """
        ...

    async def download(self, name: str) -> bool:
        """Fetch the model's file; False: it was here. Raises RouterError."""
        ...

    async def pull(self, name: str, on_progress: OnProgress | None = None) -> bool:
        """Do as `download`; `on_progress` is called now and then. It goes on if the caller leaves.

        Raises PermissionDenied for one that is served elsewhere.
        """
        ...

    async def remove(self, name: str) -> None:
        """Unload a model and delete its file, which must be one that was fetched.

        Raises ModelNotFound (also for one that is not here), ModelInUse, PermissionDenied.
        """
        ...


class SpeechFinder(Protocol):
    """Tells where somebody speaks."""

    async def find(
        self, media: MediaSource, vad: VadOptions, *, longest_s: float = math.inf
    ) -> Sequence[Span]:
        """Return the stretches of speech, none longer than `longest_s`. Raises RouterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether requests can be served. `reasons` are sentences, empty when they can."""

    ok: bool
    reasons: Sequence[str] = ()


class Transcriber(Protocol):
    """Turns an upload into events."""

    def check(self, request: TranscriptionRequest) -> None:
        """Raise InvalidParameter if what is asked for cannot be done with any audio."""
        ...

    def run(
        self, request: TranscriptionRequest, media: MediaSource, tracker: Tracker | None = None
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield `AudioReady`, `LanguageDetected` at most once, then segments in order.

        Closing the generator ends all work. Raises RouterError.
        """
        ...


class SpeakerFinder(Protocol):
    """Tells speakers apart without recognising what they say."""

    async def find(self, media: MediaSource, wanted: SpeakerOptions) -> SpeakerTurns:
        """Return who speaks when. Raises RouterError."""
        ...


class Live(Protocol):
    """Live sessions."""

    @property
    def turns(self) -> TurnOptions:
        """When a turn begins and ends unless a client says otherwise."""
        ...

    def check(self, request: TranscriptionRequest) -> None:
        """Raise RouterError if no session could do what is asked for."""
        ...

    def alias(self, name: str) -> str:
        """Return the alias that a name means. Raises ModelNotFound."""
        ...

    def running(self) -> Mapping[str, int]:
        """Return how many sessions each alias has now."""
        ...

    def open(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[LiveRun]:
        """Run a session until the block ends. Raises RouterError before any audio."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """Whether a model's file is here, or how far it is on its way. Of none elsewhere: it is."""

    is_present: bool
    download: DownloadProgress | None = None


class Processes(Protocol):
    """The engine processes, by the names that requests use."""

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return every alias's, with memory measured now."""
        ...

    def pool(self, name: str) -> ModelPool:
        """Return the pool behind a name. Raises ModelNotFound."""
        ...

    async def files(self, aliases: Sequence[str]) -> Mapping[str, ModelFile]:
        """Return whether the files of these aliases are here."""
        ...

    def memory(self) -> MemoryUse:
        """Return what the processes take together, of which budget."""
        ...

    def config(self) -> Mapping[str, object]:
        """Return the configuration in effect, without secrets."""
        ...

    def briefs(self) -> Mapping[str, PoolBrief]:
        """Return what is known, without measuring, of aliases that are configured or were used."""
        ...

    async def reload(self) -> Mapping[str, Sequence[str]]:
        """Read the configuration again; return what has changed. Raises InvalidConfiguration."""
        ...


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check has found."""

    verdict: Verdict
    subject: str
    text: str


class System(Protocol):
    """The machine and this program."""

    async def describe(self) -> Mapping[str, object]:
        """Return what they are, as JSON can hold it."""
        ...

    def examine(self) -> AsyncGenerator[Finding, None]:
        """Yield what checks find; takes seconds."""
        ...


class Queues(Protocol):
    """What waits, per alias."""

    def waiting(self) -> Mapping[str, Sequence[Waiting]]:
        """Return the chunks that wait for each alias's workers, in the order of their turns."""
        ...

    def place(self, *, key: str, request_id: str) -> Waiting | None:
        """Return the next waiting chunk of a request, as it was a moment ago."""
        ...

    def watch(self, *, key: str, request_id: str) -> AbstractContextManager[FirstTurn]:
        """Note how the first chunk of a request fares in the queue, until the block ends."""
        ...

    def running(self) -> Mapping[str, int]:
        """Return how many chunks run on each alias's workers."""
        ...

    def lengths(self) -> Mapping[str, int]:
        """Return how many chunks wait for each alias's workers."""
        ...


class Fetcher(Protocol):
    """Fetches audio from addresses that clients name."""

    def check(self, url: str) -> None:
        """Raise UrlRefused if the address cannot be asked for, as far as that is seen in it."""
        ...

    async def fetch(self, url: str, target: Path) -> FetchedAudio:
        """Fetch an address to a new file. Raises RouterError."""
        ...


class JobService(Protocol):
    """Jobs: what is known of them, and what may be done to them."""

    @property
    def store(self) -> JobStore:
        """All jobs."""
        ...

    @property
    def spool(self) -> Spool:
        """Where uploads for jobs arrive."""
        ...

    @property
    def max_queued(self) -> int:
        """How many jobs may wait."""
        ...

    async def submit(self, job: Job, upload: Path | None = None) -> Job:
        """Queue a new job, and take over its file; return it.

        Or the one that was made with the same idempotency key before. Raises RouterError.
        """
        ...

    async def record(self, job: Job, transcript: Transcript | None) -> Job:
        """Keep a job that has already ended elsewhere, and call its webhook if it has one.

        Its status and `ended_s` are set, and `error` if it has failed. Return and raise as
        `submit`.
        """
        ...

    async def cancel(self, job: Job) -> bool:
        """End a job, and free its worker if it runs. False: it had ended before."""
        ...

    async def erase(self, job: Job) -> None:
        """Cancel a job if need be, and delete all that is known of it."""
        ...

    def tracker(self, job_id: str) -> Tracker | None:
        """Return how far a job is that runs, or whose audio is fetched."""
        ...

    def left_s(self, job_id: str) -> float | None:
        """Return in how many seconds a running job is done; None: nobody knows."""
        ...

    async def begins_in_s(self, job: Job) -> float | None:
        """Return in how many seconds a queued job is begun; None: nobody knows."""
        ...

    def watch(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Yield an event that is set whenever the job's status changes; the caller clears it."""
        ...
