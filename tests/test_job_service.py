"""Where jobs are kept, and what happens where they cannot be."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from support.in_process import settings_in
from whisper_router.audio.fetch_url import FetchLimits, UrlFetcher
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.errors import ConfigurationError, StorageFull
from whisper_router.job_service import JobParts, running_jobs
from whisper_router.pipeline.activity import ActivityBoard
from whisper_router.sections import JobSettings


def router(tmp_path, **jobs):
    """Return as much of a router as is looked at."""
    settings = settings_in(tmp_path).model_copy(update={"jobs": JobSettings(**jobs)})
    return SimpleNamespace(settings=settings, transcriber=None)


def running_jobs_of(router):
    outbound = Outbound(OutboundOptions())
    fetcher = UrlFetcher(outbound, FetchLimits())
    return running_jobs(
        router,
        outbound,
        JobParts(
            fetcher=fetcher,
            in_use=lambda *_: nullcontext(),
            transcriber=router.transcriber,
            activity=ActivityBoard(),
        ),
    )


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


def damage(path):
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(data)


async def test_a_damaged_store_is_an_error_only_where_it_was_named(tmp_path, monkeypatch):
    """The server goes on without jobs, or says why it does not start."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    async with running_jobs_of(router(tmp_path)) as jobs:
        assert jobs is not None
    await asyncio.to_thread(damage, tmp_path / "state" / "jobs" / "jobs.db")
    async with running_jobs_of(router(tmp_path)) as jobs:
        assert jobs is None
    with pytest.raises(ConfigurationError, match=r"jobs\.db"):
        async with running_jobs_of(router(tmp_path, directory=tmp_path / "state" / "jobs")):
            pass


async def test_jobs_that_cannot_be_gone_on_with_are_no_traceback(tmp_path, monkeypatch):
    """What fails only when jobs are looked for is told in the same way; the directory is free."""

    async def fail(_store):
        raise StorageFull("There is no room.")

    with monkeypatch.context() as patch:
        patch.setattr("whisper_router.jobs.sqlite.SqliteStore.requeue", fail)
        with pytest.raises(ConfigurationError, match="no room"):
            async with running_jobs_of(router(tmp_path, directory=tmp_path / "a")):
                pass
    async with running_jobs_of(router(tmp_path, directory=tmp_path / "a")) as jobs:
        assert jobs is not None
