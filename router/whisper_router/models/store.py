"""The directory of model files: what is there, and getting what is not."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from whisper_router.errors import ModelUnavailable
from whisper_router.models.download import (
    WORKER_ARGV,
    Download,
    DownloadProgress,
    OnProgress,
)
from whisper_router.models.fetch_job import Failed, FetchJob, FetchLimits
from whisper_router.models.file_lock import lock_file, try_lock
from whisper_router.models.layout import (
    LOCKS,
    PART,
    lock_of,
    name_of,
    parts_of,
    path_of,
    shown_url,
)
from whisper_router.models.part_file import disk_error
from whisper_router.models.source import NO_WEIGHTS, LocalFile, ModelSource, ModelSpec, RemoteFile
from whisper_router.tasks import Tasks

MAX_RETRY_S = 30
RETRY_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where models lie and how they are fetched.

    `wait_s` is how long a request waits for a download; 0: not at all. `token` and `endpoint` are
    the hub's; None leaves them to `huggingface_hub` (HF_TOKEN, HF_ENDPOINT, a saved login).
    `worker_argv` starts the download program.
    """

    directory: Path
    auto_download: bool = True
    wait_s: float = 600.0
    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    limits: FetchLimits = field(default_factory=FetchLimits)
    worker_argv: tuple[str, ...] = WORKER_ARGV


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFile:
    """A model file in the store's directory."""

    path: Path
    size_bytes: int


class ModelStore:
    """Finds and fetches model files.

    Every file is fetched once however many wait for it, also when several processes share the
    directory. A download belongs to the store: callers may leave, it goes on; cancelling `tasks`
    ends it, and what was fetched is used by the next one.
    """

    def __init__(self, *, config: StoreConfig, tasks: Tasks) -> None:
        self._config = config
        self._tasks = tasks
        self._downloads: dict[Path, Download] = {}
        self._failures: dict[Path, tuple[float, Failed]] = {}

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self._config.directory

    def path(self, source: ModelSource) -> Path:
        """Return where the file of `source` is, or belongs."""
        if isinstance(source, LocalFile):
            return source.path
        return path_of(source, self._config.directory)

    def present(self, source: ModelSource) -> Path | None:
        """Return the file of `source` if it is there and, where that is known, has its size."""
        path = self.path(source)
        if source is NO_WEIGHTS:
            return path
        try:
            size = path.stat().st_size
        except OSError:
            return None
        expected = None if isinstance(source, LocalFile) else source.size_bytes
        return path if path.is_file() and expected in {None, size} else None

    async def ensure(self, spec: ModelSpec) -> Path:
        """Return the model's file for a request, as the configuration lets requests fetch it.

        Raises:
            ModelUnavailable: it is not there and cannot be had, or not yet (with `retry_after_s`).
            StorageFull: there is no room for it.
        """
        source = spec.source
        if (path := await asyncio.to_thread(self.present, source)) is not None:
            return path
        if isinstance(source, LocalFile):
            raise _missing_local(source)
        if not self._config.auto_download:
            raise ModelUnavailable(await asyncio.to_thread(self._how_to_get, spec, source))
        self._raise_recent_failure(source)
        return await self._wait_for_turn(spec, source)

    async def fetch(self, source: ModelSource, *, on_progress: OnProgress | None = None) -> Path:
        """Return the file of `source`, fetched if need be. `on_progress` is called now and then.

        Raises:
            ModelUnavailable: it cannot be had.
            StorageFull: there is no room for it.
        """
        if (path := await asyncio.to_thread(self.present, source)) is not None:
            return path
        if isinstance(source, LocalFile):
            raise _missing_local(source)
        await self._join(source).wait(on_progress)
        return self.path(source)

    def progress(self, source: ModelSource) -> DownloadProgress | None:
        """Return how far the download of `source` is; None: this process runs none."""
        download = self._downloads.get(self.path(source))
        return None if download is None else download.progress

    async def remove(self, source: ModelSource) -> int:
        """Delete the file of `source` and what an interrupted download left. Returns bytes freed.

        Raises:
            ModelUnavailable: it is being fetched, here or by another process, or is not the store's
                to delete.
        """
        if source is NO_WEIGHTS:
            raise ModelUnavailable("the model is served elsewhere: there is no file here")
        if isinstance(source, LocalFile):
            raise ModelUnavailable(f"{source.path} is not a file of the store: delete it yourself")
        return await asyncio.to_thread(self._remove, source)

    def installed(self) -> Sequence[InstalledFile]:
        """Return the complete model files in the directory, whoever put them there."""
        root = self._config.directory
        return [
            InstalledFile(path=path, size_bytes=path.stat().st_size)
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.suffix != PART and path.relative_to(root).parts[0] != LOCKS
        ]

    async def _wait_for_turn(self, spec: ModelSpec, source: RemoteFile) -> Path:
        download = self._join(source)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.wait_s):
                await download.wait()
                return self.path(source)
        raise _still_fetching(spec, download.progress)

    def _join(self, source: RemoteFile) -> Download:
        """Return the download of `source`, started if there is none."""
        target = self.path(source)
        if (running := self._downloads.get(target)) is not None:
            return running
        if self._config.offline:
            raise ModelUnavailable(
                f"{name_of(source)} is not here and the server is offline (HF_HUB_OFFLINE or "
                f"store.offline). {self._by_hand(source)}"
            )
        download = Download(self._job(source, target), argv=self._config.worker_argv)
        self._downloads[target] = download
        self._tasks.spawn(self._run(download, target), name=f"fetch {name_of(source)}")
        return download

    async def _run(self, download: Download, target: Path) -> None:
        try:
            await download.run()
        finally:
            del self._downloads[target]
        if download.failure is None:
            self._failures.pop(target, None)
        else:
            until_s = time.monotonic() + download.failure.retry_after_s
            self._failures[target] = (until_s, download.failure)

    def _job(self, source: RemoteFile, target: Path) -> FetchJob:
        config = self._config
        return FetchJob(
            source=source,
            target=target,
            lock=lock_of(target, config.directory),
            endpoint=config.endpoint,
            token=config.token,
            limits=config.limits,
        )

    def _raise_recent_failure(self, source: RemoteFile) -> None:
        """Requests do not repeat what just failed; the hub would only limit us longer."""
        until_s, failure = self._failures.get(self.path(source), (0.0, None))
        left_s = math.ceil(until_s - time.monotonic())
        if failure is not None and left_s > 0:
            raise replace(failure, retry_after_s=left_s).error()

    def _how_to_get(self, spec: ModelSpec, source: RemoteFile) -> str:
        path = self.path(source)
        state = "is not here"
        if path.is_file():
            state = f"has {path.stat().st_size} bytes instead of {source.size_bytes}"
        return (
            f"The file of the model '{spec.alias}' {state}, and downloads on request are off. "
            f"Run `whisper-router models pull {spec.alias}`. {self._by_hand(source)}"
        )

    def _by_hand(self, source: RemoteFile) -> str:
        url = shown_url(source, self._config.endpoint)
        return f"Or put the file at {self.path(source)}; it comes from {url}"

    def _remove(self, source: RemoteFile) -> int:
        target = self.path(source)
        with lock_file(lock_of(target, self._config.directory)) as fd:
            if not try_lock(fd):
                raise ModelUnavailable(f"{name_of(source)} is being fetched just now")
            try:
                return sum(_delete(path) for path in [target, *parts_of(target)])
            except OSError as error:
                raise disk_error(error, target.parent) from error


def _delete(path: Path) -> int:
    if not path.is_file():
        return 0
    size = path.stat().st_size
    path.unlink()
    return size


def _missing_local(source: LocalFile) -> ModelUnavailable:
    return ModelUnavailable(f"The model file {source.path} does not exist")


def _still_fetching(spec: ModelSpec, progress: DownloadProgress) -> ModelUnavailable:
    percent = "" if progress.percent is None else f" ({progress.percent} % done)"
    error = ModelUnavailable(f"The model '{spec.alias}' is being downloaded{percent}. Try again")
    left_s = progress.remaining_s
    error.retry_after_s = RETRY_S if left_s is None else min(max(math.ceil(left_s), 1), MAX_RETRY_S)
    return error
