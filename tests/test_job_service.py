"""Where jobs are kept, and what happens where they cannot be."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from support.in_process import settings_in
from whisper_router.audio.fetch_url import FetchLimits, UrlFetcher
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.errors import ConfigurationError
from whisper_router.job_service import running_jobs
from whisper_router.settings import JobSettings


def router(tmp_path, **jobs):
    """Return as much of a router as is looked at."""
    settings = settings_in(tmp_path).model_copy(update={"jobs": JobSettings(**jobs)})
    return SimpleNamespace(settings=settings, transcriber=None)


def running_jobs_of(router):
    outbound = Outbound(OutboundOptions())
    fetcher = UrlFetcher(outbound, FetchLimits())
    return running_jobs(router, outbound, fetcher, lambda *_: nullcontext())


async def test_jobs_are_kept_in_the_directory_that_is_named(tmp_path):
    """It is made."""
    async with running_jobs_of(router(tmp_path, directory=tmp_path / "a" / "b")) as jobs:
        assert jobs is not None
        assert (tmp_path / "a" / "b" / "jobs.db").exists()


async def test_no_jobs_may_be_wanted(tmp_path):
    """Then nothing is made."""
    async with running_jobs_of(router(tmp_path, enabled=False, directory=tmp_path / "a")) as jobs:
        assert jobs is None
    assert not (tmp_path / "a").exists()


async def test_a_directory_that_is_named_must_be_usable(tmp_path):
    """Two servers cannot share one."""
    async with running_jobs_of(router(tmp_path, directory=tmp_path / "a")):
        with pytest.raises(ConfigurationError, match="another server"):
            async with running_jobs_of(router(tmp_path, directory=tmp_path / "a")):
                pass


async def test_without_a_name_a_server_goes_on_without_jobs(tmp_path, monkeypatch):
    """As in a container that is read-only."""
    (tmp_path / "state").write_text("a file is in the way")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    async with running_jobs_of(router(tmp_path)) as jobs:
        assert jobs is None
