"""Gets one file: resumes, retries, verifies. Runs in the download program."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from whisper_router.errors import ModelUnavailable
from whisper_router.models.fetch_job import Done, FetchJob, Progress
from whisper_router.models.file_lock import lock_file, try_lock
from whisper_router.models.layout import name_of, part_of, parts_of
from whisper_router.models.part_file import PartFile, check_room, disk_error
from whisper_router.models.refusals import TryAgainError, refusal
from whisper_router.models.remote import Remote, look_up

Report = Callable[[Progress], None]
CONNECT_TIMEOUT_S = 30.0
LOCK_POLL_S = 0.2
MAX_BACKOFF_S = 30.0
MISMATCH_RETRY_S = 600
"""Requests fetch gigabytes for nothing no more often than this."""
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


async def fetch(job: FetchJob, report: Report) -> Done:
    """Return once the job's file is complete and in its place.

    Raises:
        ModelUnavailable: it cannot be had; the message says why and what to do.
        StorageFull: there is no room for it.
    """
    _make_folders(job)
    async with _only_one(job, report):
        if _is_complete(job):
            return Done(fetched_bytes=0, verified=False)
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_TIMEOUT_S, sock_read=job.limits.stall_s
        )
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            return await _try_often(http, job, report)


async def _try_often(http: aiohttp.ClientSession, job: FetchJob, report: Report) -> Done:
    failures = 0
    while True:
        before = _bytes_on_disk(job)
        try:
            return await _attempt(http, job, report)
        except TryAgainError as error:
            failures = 1 if _bytes_on_disk(job) > before else failures + 1
            if failures >= job.limits.attempts:
                raise ModelUnavailable(
                    f"{name_of(job.source)} could not be fetched: {error}. If this machine has no "
                    f"way to it, put the file at {job.target}"
                ) from error
            report(Progress(done_bytes=_bytes_on_disk(job), trouble=str(error)))
            await asyncio.sleep(min(job.limits.backoff_s * 2 ** (failures - 1), MAX_BACKOFF_S))


async def _attempt(http: aiohttp.ClientSession, job: FetchJob, report: Report) -> Done:
    remote = await look_up(http, job)
    _check_offer(job, remote)
    part = PartFile(part_of(job.target, remote.version), job.target)
    for stale in parts_of(job.target):
        if stale != part.path:
            stale.unlink(missing_ok=True)
    try:
        fetched = await _download(http, job, remote, part, report=report)
        total = part.size_bytes
        verified = _verify(job, remote, part, lambda: report(_all_of(total)))
        part.publish()
    finally:
        part.close()
    return Done(fetched_bytes=fetched, verified=verified)


def _check_offer(job: FetchJob, remote: Remote) -> None:
    """Refuse another file than the one that is wanted before it is fetched."""
    source = job.source
    for what, offered, wanted in (
        ("size", remote.size_bytes, source.size_bytes),
        ("SHA-256", remote.sha256, source.sha256 and source.sha256.lower()),
    ):
        if offered is not None and wanted is not None and offered != wanted:
            raise _other_file(
                f"{name_of(source)} is not the file that is wanted: its server offers one that has "
                f"{what} {offered} instead of {wanted}. The publisher changed it"
            )


async def _download(
    http: aiohttp.ClientSession, job: FetchJob, remote: Remote, part: PartFile, *, report: Report
) -> int:
    """Fetch what `part` lacks. Returns the number of bytes that came."""
    have = part.size_bytes if remote.version is not None else 0
    if have and have == remote.size_bytes:
        return 0
    try:
        async with http.get(remote.url, headers=_headers(remote, have)) as response:
            start = _start_of(response, job, part, have=have)
            total = _total(response, remote, start=start)
            check_room(
                job.target.parent,
                needed_bytes=max((total or 0) - start, 0),
                min_free_bytes=job.limits.min_free_bytes,
            )
            part.open(keep_bytes=start)
            done = start
            async for data in response.content.iter_any():
                part.write(data)
                done += len(data)
                report(Progress(done_bytes=done, total_bytes=total))
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise TryAgainError(_explain(error, job)) from error
    if total is not None and done != total:
        raise TryAgainError(f"the connection ended after {done} of {total} bytes")
    return done - start


def _headers(remote: Remote, have: int) -> dict[str, str]:
    headers = {**remote.headers, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if remote.if_range is not None:
            headers["If-Range"] = remote.if_range
    return headers


def _start_of(response: aiohttp.ClientResponse, job: FetchJob, part: PartFile, *, have: int) -> int:
    """Return the offset at which the answer's body begins."""
    if response.status == RANGE_NOT_SATISFIABLE:
        part.discard()
        raise TryAgainError("the server has less of the file than is here already")
    if response.status >= 400:
        raise refusal(job.source, response.status, response.headers, endpoint=job.endpoint)
    if response.status != PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        part.discard()
        raise TryAgainError("the server sent another part of the file than it was asked for")
    return have


def _total(response: aiohttp.ClientResponse, remote: Remote, *, start: int) -> int | None:
    if remote.size_bytes is not None:
        return remote.size_bytes
    length = response.content_length
    return None if length is None else start + length


def _verify(job: FetchJob, remote: Remote, part: PartFile, on_block: Callable[[], None]) -> bool:
    """Return whether a checksum was compared. A file that differs is deleted."""
    source = job.source
    if source.size_bytes is not None and part.size_bytes != source.size_bytes:
        raise _mismatch(job, part, f"has {part.size_bytes} bytes instead of {source.size_bytes}")
    sha256, sha1 = part.digests(on_block=on_block)
    wanted = [
        ("SHA-256", sha256, source.sha256),
        ("SHA-256", sha256, remote.sha256),
        ("SHA-1", sha1, getattr(source, "sha1", None)),
    ]
    for name, found, expected in wanted:
        if expected is not None and found != expected.lower():
            error = _mismatch(job, part, f"has {name} {found} instead of {expected}")
            if expected == remote.sha256:  # damaged on its way: the next one may be whole
                error.retry_after_s = ModelUnavailable.retry_after_s
            raise error
    return any(expected is not None for _, _, expected in wanted)


def _mismatch(job: FetchJob, part: PartFile, what: str) -> ModelUnavailable:
    part.discard()
    return _other_file(
        f"{name_of(job.source)} was fetched, did not match and was deleted: the file {what}. It "
        "was damaged on its way, or the publisher changed it"
    )


def _other_file(message: str) -> ModelUnavailable:
    error = ModelUnavailable(message)
    error.retry_after_s = MISMATCH_RETRY_S
    return error


def _all_of(total: int) -> Progress:
    return Progress(done_bytes=total, total_bytes=total)


def _explain(error: BaseException, job: FetchJob) -> str:
    if isinstance(error, TimeoutError):
        return f"no data came for {job.limits.stall_s:g} s"
    return f"the connection failed ({error})"


def _bytes_on_disk(job: FetchJob) -> int:
    return sum(path.stat().st_size for path in parts_of(job.target))


def _is_complete(job: FetchJob) -> bool:
    if not job.target.is_file():
        return False
    size = job.source.size_bytes
    return size is None or job.target.stat().st_size == size


def _make_folders(job: FetchJob) -> None:
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, job.target.parent) from error


@asynccontextmanager
async def _only_one(job: FetchJob, report: Report) -> AsyncIterator[None]:
    with lock_file(job.lock) as fd:
        while not try_lock(fd):
            report(Progress(done_bytes=_bytes_on_disk(job), waiting=True))
            await asyncio.sleep(LOCK_POLL_S)
        yield
