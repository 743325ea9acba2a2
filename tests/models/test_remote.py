"""What a server says of a file before it is fetched."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.hub import COMMIT, Hub
from whisper_router.errors import ModelUnavailable
from whisper_router.models.fetch_job import FetchJob
from whisper_router.models.refusals import TryAgainError
from whisper_router.models.remote import look_up
from whisper_router.models.source import HubFile, UrlFile

CONTENT = b"weights" * 1000
NAME = "owner/models/model.bin"
SOURCE = HubFile(repo="owner/models", file="model.bin")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def job(source: HubFile | UrlFile, *, hub: Hub, token: str | None = None) -> FetchJob:
    return FetchJob(
        source=source, target=Path("model.bin"), lock=Path("lock"), endpoint=hub.url, token=token
    )


async def test_a_hub_tells_size_checksum_and_a_commit_that_never_changes(hub, http):
    """A resumed download must get the bytes of the version that it began with."""
    sha256 = hub.add(NAME, CONTENT)
    found = await look_up(http, job(SOURCE, hub=hub))
    assert found.url == f"{hub.url}/owner/models/resolve/{COMMIT}/model.bin"
    assert (found.size_bytes, found.sha256, found.version) == (len(CONTENT), sha256, sha256)
    assert found.headers == {}


async def test_a_token_goes_along_and_is_never_printed(hub, http):
    """A log line that shows the value must not show the secret."""
    hub.add(NAME, CONTENT)
    found = await look_up(http, job(SOURCE, hub=hub, token="hf_secret"))
    assert found.headers == {"Authorization": "Bearer hf_secret"}
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert "hf_secret" not in repr(found)


async def test_the_revision_that_was_asked_for_is_asked_for(hub, http):
    """A tag, a branch or a commit."""
    hub.add(NAME, CONTENT)
    source = HubFile(repo="owner/models", file="model.bin", revision="v2")
    await look_up(http, job(source, hub=hub))
    assert set(hub.revisions) == {"v2"}


@pytest.mark.parametrize(
    ("status", "said"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "no file model.bin")]
)
async def test_a_hub_s_refusal_says_what_to_do(hub, http, status, said):
    """Trying again would not help."""
    hub.refuse(NAME, status)
    with pytest.raises(ModelUnavailable, match=said):
        await look_up(http, job(SOURCE, hub=hub))


@pytest.mark.parametrize("status", [500, 503])
async def test_a_hub_in_trouble_is_asked_again(hub, http, status):
    """It passes."""
    hub.refuse(NAME, status)
    with pytest.raises(TryAgainError):
        await look_up(http, job(SOURCE, hub=hub))


async def test_a_name_that_the_hub_cannot_have_is_refused(hub, http):
    """Before anything is sent."""
    with pytest.raises(ModelUnavailable, match="cannot be fetched"):
        await look_up(http, job(HubFile(repo="owner//models", file="model.bin"), hub=hub))


async def test_a_hub_that_is_not_there_is_tried_again(hub, http):
    """The machine may have no network just now."""
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(TryAgainError, match=r"127\.0\.0\.1:9"):
        await look_up(http, job(SOURCE, hub=hub))


async def test_an_address_tells_its_size_and_version(hub, http):
    """The ETag goes into If-Range: a changed file is sent whole."""
    hub.add("m.bin", CONTENT)
    found = await look_up(http, job(UrlFile(url=f"{hub.url}/files/m.bin"), hub=hub))
    etag = f'"{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"'
    assert (found.size_bytes, found.version, found.if_range) == (len(CONTENT), etag, etag)
    assert found.sha256 is None


async def test_an_address_without_head_is_fetched_blindly(hub, http):
    """Nothing is known, so nothing can be resumed."""
    hub.add("m.bin", CONTENT)
    hub.answers_head = False
    found = await look_up(http, job(UrlFile(url=f"{hub.url}/files/m.bin"), hub=hub))
    assert (found.size_bytes, found.version, found.if_range) == (None, None, None)


async def test_an_address_that_has_no_file_is_refused(hub, http):
    """404 is the last word."""
    with pytest.raises(ModelUnavailable, match="no such file"):
        await look_up(http, job(UrlFile(url=f"{hub.url}/files/none.bin"), hub=hub))


async def test_an_address_that_cannot_be_reached_is_tried_again(hub, http):
    """As the hub."""
    with pytest.raises(TryAgainError, match=r"reached \(Cannot connect") as told:
        await look_up(http, job(UrlFile(url="http://127.0.0.1:9/m.bin"), hub=hub))
    assert "ConnectionKey" not in str(told.value)  # nor anything else for programmers
