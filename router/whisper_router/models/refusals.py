"""What a hub's or a server's refusal means to the person who wanted the model."""

from collections.abc import Mapping
from http import HTTPStatus

from whisper_router.errors import ModelUnavailable
from whisper_router.models.layout import name_of, shown_url
from whisper_router.models.source import HubFile, RemoteFile

TRANSIENT = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
DENIED_RETRY_S = 60
RATE_LIMITED_RETRY_S = 60
MAX_RETRY_S = 3600


class TryAgainError(Exception):
    """The download did not get to its end; another attempt may. The message says why."""


def refusal(
    source: RemoteFile, status: int, headers: Mapping[str, str], *, endpoint: str | None
) -> Exception:
    """Return what to raise for an answer with `status`, which is no success."""
    url = shown_url(source, endpoint)
    if status in TRANSIENT:
        return TryAgainError(f"{url} answered {status}")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = _retry_after_s(headers)
        return _unavailable(f"{url} answered 429: too many requests; retry in {seconds} s", seconds)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _unavailable(_denied(source, status, url), DENIED_RETRY_S)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return _unavailable(_absent(source, status, url), DENIED_RETRY_S)
    return _unavailable(f"{url} answered {status}", DENIED_RETRY_S)


def _denied(source: RemoteFile, status: int, url: str) -> str:
    if not isinstance(source, HubFile):
        return f"{url} answered {status}: this address needs a permission that the server lacks"
    page = url.partition("/resolve/")[0]
    return (
        f"The hub refused {name_of(source)} ({status}): the repository is private or gated, or "
        f"there is none. Set HF_TOKEN to a token that may read it; a gated repository's terms are "
        f"accepted at {page}"
    )


def _absent(source: RemoteFile, status: int, url: str) -> str:
    if not isinstance(source, HubFile):
        return f"{url} answered {status}: there is no such file"
    return (
        f"The repository {source.repo} has no file {source.file} in revision {source.revision} "
        f"({status} from {url}): check repo, file and revision"
    )


def _retry_after_s(headers: Mapping[str, str]) -> int:
    value = headers.get("Retry-After", "")
    return min(max(int(value), 1), MAX_RETRY_S) if value.isdecimal() else RATE_LIMITED_RETRY_S


def _unavailable(message: str, retry_after_s: int) -> ModelUnavailable:
    error = ModelUnavailable(message)
    error.retry_after_s = retry_after_s
    return error
