"""Everything built from settings and taken down again, in this process."""

import asyncio
import re

import psutil
import pytest

from support.in_process import settings_in
from support.processes import children
from whisper_router.app import build_router
from whisper_router.errors import ConfigurationError
from whisper_router.supervisor.machine import State


async def test_nothing_is_left_when_it_ends(tmp_path):
    """No process and no file of the spool; media workers live meanwhile."""
    before = children()
    async with build_router(settings_in(tmp_path)) as router:
        assert children() - before
        spool = router.spool.directory
        assert spool.is_dir()
    assert children() - before == set()
    assert not spool.exists()


async def test_temporary_files_of_decoders_lie_in_the_spool(tmp_path):
    """What a killed worker leaves is removed with it, at the next start at the latest."""
    async with asyncio.timeout(30), build_router(settings_in(tmp_path)) as router:
        await router.media.ready()
        places = {psutil.Process(pid).environ()["TMPDIR"] for pid in router.media.pids}
        assert places == {str(router.spool.directory)}


async def test_preloaded_models_start_with_the_server_and_others_do_not(tmp_path):
    """`preload` is per alias."""
    models = {"early": {"model": "demo", "preload": True}, "late": {"model": "demo"}}
    async with build_router(settings_in(tmp_path, models=models)) as router:
        early, late = router.supervisor.pool("early"), router.supervisor.pool("late")
        async with asyncio.timeout(30):
            while early.brief().state is not State.READY:  # noqa: ASYNC110 - nobody asked for it
                await asyncio.sleep(0.005)
        assert late.brief().state is State.STOPPED


async def test_a_preloaded_model_that_is_not_here_does_not_end_the_server(tmp_path):
    """It is logged, and the other aliases serve."""
    models = {"gone": {"path": "/no/such/ggml.bin", "preload": True}}
    async with build_router(settings_in(tmp_path, models=models)) as router:
        async with asyncio.timeout(30):
            while router.supervisor.pool("gone").brief().last_error is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert router.supervisor.pool("demo").brief().last_error is None


async def test_an_alias_may_be_idle_longer_than_the_others(tmp_path):
    """models.NAME.idle_unload_s before supervision.idle_unload_s; 0 is never."""
    models = {
        "pinned": {"model": "demo", "idle_unload_s": 0},
        "own": {"model": "demo", "idle_unload_s": 7},
        "common": {"model": "demo"},
    }
    settings = settings_in(tmp_path, models=models, idle_unload_s=30)
    async with build_router(settings) as router:
        found = {
            status.alias: status.idle_unload_s
            for status in await router.supervisor.statuses()
            if status.alias in models
        }
    assert found == {"pinned": None, "own": 7, "common": 30}


async def test_an_alias_may_be_recycled_sooner_than_the_others(tmp_path):
    """models.NAME.max_requests before supervision.max_requests; 0 is never, as it is by default."""
    models = {
        "common": {"model": "demo"},
        "own": {"model": "demo", "max_requests": 7, "max_rss_growth": "1MiB"},
        "never": {"model": "demo", "max_requests": 0},
    }
    async with build_router(settings_in(tmp_path, models=models, max_requests=30)) as router:
        found = {alias: router.supervisor.pool(alias).spec.supervision for alias in models}
    assert {alias: options.max_requests for alias, options in found.items()} == {
        "common": 30,
        "own": 7,
        "never": None,
    }
    assert found["own"].max_rss_growth_bytes == 1 << 20
    assert found["common"].max_rss_growth_bytes is None


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"x": {"model": "demo", "workers": 0}}, "models.x.workers"),
        ({"x": {"model": "demo", "engine": "nobody"}}, "no engine 'nobody' is installed"),
    ],
)
async def test_what_cannot_work_fails_before_anything_is_started(tmp_path, models, message):
    """No media worker, no spool."""
    before = children()
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        async with build_router(settings_in(tmp_path, models=models)):
            pass
    assert children() == before
    assert not (tmp_path / "spool").exists()


async def test_a_spool_that_cannot_be_made_is_a_sentence(tmp_path):
    """And takes nothing with it."""
    (tmp_path / "spool").write_text("a file is in the way")
    with pytest.raises(ConfigurationError, match="spool"):
        async with build_router(settings_in(tmp_path)):
            pass
