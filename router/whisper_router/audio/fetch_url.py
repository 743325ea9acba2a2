"""Fetches audio from an address that a client named, to a file, under limits."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientResponse, hdrs
from yarl import URL

from whisper_router.audio.form import WRITE_BYTES, append, check_extension, storage_full
from whisper_router.audio.media import EXTENSIONS
from whisper_router.audio.outbound import CONNECT_FAILURES, Outbound, parse_url, reason_of
from whisper_router.audio.parts import file_name, header_parameters
from whisper_router.audio.spool import SpoolFile
from whisper_router.errors import (
    UnsupportedFormat,
    UrlFetchFailed,
    UrlRefused,
    UrlTimeout,
    UrlTooLarge,
    UrlUnsupported,
)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_NAME_CHARACTERS = 200
REQUEST_HEADERS = {
    "Accept": "audio/*, video/*, application/octet-stream;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # sound does not get smaller
}
MEDIA_TYPES = ("audio/", "video/")
OTHER_TYPES = frozenset(
    {
        "",
        "application/download",
        "application/force-download",
        "application/mp4",
        "application/octet-stream",
        "application/ogg",
        "application/x-download",
        "binary/octet-stream",  # what S3 says when nobody said anything
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What may be fetched. `max_bytes` counts what is left when a compression is undone.

    `timeout_s` is for all of it, `idle_timeout_s` is how long the host may pause. `extensions` are
    in lower case and have no dot.
    """

    max_bytes: int = 1 << 30
    timeout_s: float = 900.0
    idle_timeout_s: float = 30.0
    max_redirects: int = 5
    extensions: frozenset[str] = EXTENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedAudio:
    """What was fetched. `name` has no directories and may be empty."""

    name: str
    content_type: str | None
    size_bytes: int


class UrlFetcher:
    """Fetches what clients name, all under the same limits."""

    def __init__(self, outbound: Outbound, limits: FetchLimits) -> None:
        self._outbound, self._limits = outbound, limits

    def check(self, url: str) -> None:
        """Raise UrlRefused if the address cannot be asked for, as far as that is seen in it."""
        self._outbound.check(url)

    async def fetch(self, url: str, target: Path) -> FetchedAudio:
        """Fetch an address to a new file. Raises as `fetch`."""
        return await fetch(self._outbound, url, target, self._limits)


async def fetch(outbound: Outbound, url: str, target: Path, limits: FetchLimits) -> FetchedAudio:
    """Fetch `url` to the new file `target`, which is there only if all of it is.

    Raises:
        UrlRefused: the address, or one that it redirects to, may not be connected to.
        UrlFetchFailed: there was no answer, none with status 200, or it was cut short.
        UrlUnsupported: what came is neither audio nor video, or of an extension not accepted.
        UrlTooLarge: it is larger than the limit.
        UrlTimeout: it took too long.
        StorageFull: the disk is full.
    """
    file = SpoolFile(target)
    finish = file.discard
    try:
        async with asyncio.timeout(limits.timeout_s):
            fetched = await _follow(outbound, url, file, limits)
        finish = file.keep
    except TimeoutError as error:
        raise UrlTimeout(
            f"Fetching the address took longer than {limits.timeout_s:g} s; it was given up."
        ) from error
    finally:
        # Shielded: a second cancellation must not take the work out of the thread's queue.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, finish))
    return fetched


async def _follow(
    outbound: Outbound, url: str, file: SpoolFile, limits: FetchLimits
) -> FetchedAudio:
    for _ in range(limits.max_redirects + 1):
        checked = outbound.check(url)
        with _told(checked, limits):
            async with outbound.request(
                "GET", url, headers=REQUEST_HEADERS, idle_timeout_s=limits.idle_timeout_s
            ) as response:
                if response.status not in REDIRECTS:
                    return await _store(response, file, limits)
                url = _next(response)
    raise UrlFetchFailed(f"The address redirects more than {limits.max_redirects} times.")


@contextmanager
def _told(url: URL, limits: FetchLimits) -> Iterator[None]:
    """Tell failures in words for the client: with the host, never with the query."""
    try:
        yield
    except CONNECT_FAILURES as error:
        if isinstance(error, TimeoutError):
            raise UrlTimeout(
                f"Nothing came from '{url.host}' for {limits.idle_timeout_s:g} s, or it took no "
                "connection in time."
            ) from error
        message = f"The audio could not be fetched from '{url.host}': {reason_of(error)}."
        raise UrlFetchFailed(message) from error


def _next(response: ClientResponse) -> str:
    location = response.headers.get(hdrs.LOCATION)
    if not location:
        raise UrlFetchFailed(f"'{response.url.host}' redirects without saying where to.")
    try:
        return str(response.url.join(parse_url(location)))
    except ValueError as error:
        message = f"'{response.url.host}' redirects to an address that cannot be understood."
        raise UrlRefused(message) from error


async def _store(response: ClientResponse, file: SpoolFile, limits: FetchLimits) -> FetchedAudio:
    name = _check_kind(response, limits)
    length = response.content_length
    if length is not None and length > limits.max_bytes:
        raise _too_large(response, limits)
    if length is not None and length > WRITE_BYTES:
        disk = await asyncio.to_thread(shutil.disk_usage, file.path.parent)
        if length > disk.free:
            raise storage_full()
    content, size_bytes = bytearray(), 0
    while piece := await response.content.readany():
        size_bytes += len(piece)
        if size_bytes > limits.max_bytes:
            raise _too_large(response, limits)
        content += piece
        if len(content) >= WRITE_BYTES:
            await append(file, content)
            content = bytearray()
    await append(file, content)
    return FetchedAudio(
        name=name, content_type=response.headers.get(hdrs.CONTENT_TYPE), size_bytes=size_bytes
    )


def _check_kind(response: ClientResponse, limits: FetchLimits) -> str:
    """Return the file's name, if status, type and extension are those of audio."""
    host = response.url.host
    if response.status != 200:
        raise UrlFetchFailed(f"'{host}' answered with the status {response.status}, not with 200.")
    content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
    mime = content_type.partition(";")[0].strip().lower()
    is_media = mime.startswith(MEDIA_TYPES)
    if not is_media and mime not in OTHER_TYPES:
        raise UrlUnsupported(f"'{host}' answered with '{mime[:80]}', which is not audio.")
    disposition = response.headers.get(hdrs.CONTENT_DISPOSITION, "")
    given = file_name(header_parameters(disposition))
    name = (given or re.split(r"[/\\]", response.url.name)[-1]).strip()[-MAX_NAME_CHARACTERS:]
    if given or not is_media:  # a path may be that of a program (/download.php)
        try:
            check_extension(name, content_type, limits.extensions)
        except UnsupportedFormat as error:
            raise UrlUnsupported(str(error)) from error
    return name


def _too_large(response: ClientResponse, limits: FetchLimits) -> UrlTooLarge:
    return UrlTooLarge(
        f"What '{response.url.host}' sends is larger than the limit of {limits.max_bytes} bytes."
    )
