"""Asks a server about a file before it is fetched: version, size, checksum.

Runs in the download program: `huggingface_hub` is imported there and nowhere else.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from whisper_router.errors import ModelUnavailable
from whisper_router.models.fetch_job import FetchJob
from whisper_router.models.layout import name_of, shown_url
from whisper_router.models.refusals import TryAgainError, refusal
from whisper_router.models.source import HubFile, UrlFile

SHA256_LENGTH = 64
METADATA_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file as its server offers it now.

    `version` changes with the content; None: it cannot be told, so nothing can be resumed.
    `if_range` is the header value that makes the server send everything when the version changed.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: str | None = None
    if_range: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None


async def look_up(http: aiohttp.ClientSession, job: FetchJob) -> Remote:
    """Return what the server says of the job's file.

    Raises:
        ModelUnavailable: it refuses, for good or for a known time.
        TryAgainError: it cannot be reached just now.
    """
    if isinstance(job.source, UrlFile):
        return await _look_up_url(http, job, job.source)
    return await asyncio.to_thread(_look_up_hub, job, job.source)


def _look_up_hub(job: FetchJob, source: HubFile) -> Remote:
    import huggingface_hub as hub  # noqa: PLC0415 -- heavy, and not needed for plain addresses
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
    )

    endpoint = job.endpoint
    url = shown_url(source, endpoint)
    try:
        url = hub.hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
        found = hub.get_hf_file_metadata(
            url,
            token=job.token,
            timeout=METADATA_TIMEOUT_S,
            endpoint=endpoint,
            library_name="whisper-router",
        )
    except HfHubHTTPError as error:
        answer = error.response
        raise refusal(source, answer.status_code, answer.headers, endpoint=endpoint) from error
    except (HFValidationError, OfflineModeIsEnabled) as error:
        raise ModelUnavailable(f"{name_of(source)} cannot be fetched: {error}") from error
    except Exception as error:  # the library's HTTP client, and so its errors, changed three times
        raise TryAgainError(f"the hub cannot be reached at {url} ({error})") from error
    token = job.token or hub.get_token()
    etag = found.etag or ""
    # A commit's file never changes, so an attempt that resumes gets the same bytes.
    revision = found.commit_hash or source.revision
    return Remote(
        url=hub.hf_hub_url(source.repo, source.file, revision=revision, endpoint=endpoint),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        version=found.etag,
        size_bytes=found.size,
        sha256=etag.lower() if len(etag) == SHA256_LENGTH else None,  # else a git hash: no LFS file
    )


async def _look_up_url(http: aiohttp.ClientSession, job: FetchJob, source: UrlFile) -> Remote:
    try:
        async with http.head(source.url, allow_redirects=True) as response:
            headers, status = response.headers, response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TryAgainError(
            f"{source.url} cannot be reached ({str(error) or type(error).__name__})"
        ) from error
    if status in {405, 501}:  # no HEAD here; the download itself will tell
        return Remote(url=source.url)
    if status >= 400:
        raise refusal(source, status, headers, endpoint=None)
    etag = headers.get("ETag", "")
    length = headers.get("Content-Length", "")
    strong = etag if etag.startswith('"') else None  # RFC 9110, 13.1.5: no weak ones in If-Range
    return Remote(
        url=source.url,
        version=strong,
        if_range=strong,
        size_bytes=int(length) if length.isdecimal() else None,
    )
