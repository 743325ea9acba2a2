"""A changed configuration under running requests, in this process and with signals."""

import asyncio
import re
import signal
from contextlib import asynccontextmanager

import psutil
import pytest
from structlog.testing import capture_logs

from support.certificates import make_certificate
from support.client import ask, session
from support.engine_processes import engine_processes
from support.in_process import settings_in
from support.processes import begun
from support.server import running_server
from support.speech import sample
from whisper_router.api.certificates import Certificates
from whisper_router.app import build_router
from whisper_router.control import Control
from whisper_router.errors import ConfigurationError, ModelNotFound
from whisper_router.reload import Reloader
from whisper_router.supervisor.machine import State

CLIP = sample("en_hello_gb").path
LIMIT_S = 60


@asynccontextmanager
async def router_with(tmp_path, **models):
    """A router, and what its configuration is from then on: change `wanted` and reload."""
    wanted = {"models": models}

    def load():
        if isinstance(wanted["models"], Exception):
            raise wanted["models"]
        return settings_in(tmp_path, **wanted)

    async with asyncio.timeout(LIMIT_S), build_router(load()) as router:
        yield router, wanted, Reloader(router, load)


async def test_only_what_has_changed_is_touched(tmp_path):
    """The engine of an alias that is as it was goes on, under the same process id."""
    same, other = {"model": "demo"}, {"model": "demo", "workers": 1}
    async with router_with(tmp_path, same=same, other=other, gone=same) as (router, wanted, it):
        await router.supervisor.pool("same").warm()
        await router.supervisor.pool("other").warm()
        (pid,) = (await router.supervisor.pool("same").status()).pids
        old = router.supervisor.pool("other")
        wanted["models"] = {"same": same, "other": {**other, "workers": 2}, "fresh": same}
        found = await it.reload()
        assert (found.added, found.removed, found.changed) == (["fresh"], ["gone"], ["other"])
        assert (await router.supervisor.pool("same").status()).pids == [pid]
        assert router.supervisor.pool("other") is not old
        assert router.supervisor.pool("other").capabilities.concurrency == 2
        with pytest.raises(ModelNotFound):
            router.dispatchers("gone")
        router.dispatchers("fresh")
        while old.brief().state is not State.STOPPED:  # noqa: ASYNC110 - it is unloaded when idle
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "models",
    [
        ConfigurationError("not TOML"),
        {"same": {"model": "demo", "workers": 1000}},
        {"same": {"model": "nothing-of-this-name"}},
        {"same": {"model": "demo", "engine": "nobody"}},
    ],
)
async def test_a_bad_configuration_is_refused_as_a_whole(tmp_path, models):
    """Nothing of it is taken up, not even what is good."""
    async with router_with(tmp_path, same={"model": "demo"}) as (router, wanted, it):
        before = router.settings
        pool = router.supervisor.pool("same")
        is_table = isinstance(models, dict)
        wanted["models"] = {**models, "new": {"model": "demo"}} if is_table else models
        with pytest.raises(ConfigurationError):
            await it.reload()
        assert router.settings is before
        assert router.supervisor.pool("same") is pool
        with pytest.raises(ModelNotFound):
            router.supervisor.pool("new")


async def test_a_wrong_certificate_keeps_nothing_else_from_being_taken_up(tmp_path):
    """Whoever renewed it is told so each time, and the one of before is served."""
    made, same = make_certificate(tmp_path), {"model": "demo"}
    certificates = await asyncio.to_thread(Certificates, made.certificate, made.key)
    async with router_with(tmp_path, same=same) as (router, wanted, it):
        control = Control(router, Reloader(router, it._load, [certificates.look]))
        text = await asyncio.to_thread(made.key.read_text)
        await asyncio.to_thread(made.key.unlink)
        with capture_logs() as logs:
            for name in ("new", "newer"):
                wanted["models"] = {"same": same, name: same}
                told = await control.reload()
                assert told["added"] == [name]
                (warning,) = told["warnings"]
                assert re.search(r"server\.tls_key: .*No such file", warning)
        lines = [line for line in logs if line["event"] == "reload_incomplete"]
        assert [line["reason"] for line in lines] == [warning, warning]
        await asyncio.to_thread(made.key.write_text, text)
        assert (await control.reload())["warnings"] == []


async def test_limits_change_and_what_needs_a_restart_is_named(tmp_path):
    """The memory budget counts from then on; the queue is built into what serves requests."""
    async with router_with(tmp_path, same={"model": "demo"}) as (router, wanted, it):
        wanted["devices"] = {"memory": "123MiB", "min_residency_s": 1}
        wanted["store"] = {"wait_s": 1}
        found = await it.reload()
        assert router.supervisor.memory.ram.budget_bytes == 123 << 20
        assert found.needs_restart == ["store"]
        assert router.settings.store.wait_s != 1
        assert router.settings.devices.min_residency_s == 1


async def test_an_alias_that_comes_may_be_preloaded(tmp_path):
    """As at the start."""
    async with router_with(tmp_path, same={"model": "demo"}) as (router, wanted, it):
        wanted["models"] = {"early": {"model": "demo", "preload": True}}
        await it.reload()
        while router.supervisor.pool("early").brief().state is not State.READY:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_sighup_reloads_and_a_running_request_ends_as_it_began(tmp_path):
    """Its alias is changed under it; the next request gets the new one."""
    config = 'default_model = "main"\n[models.main]\nmodel = "demo"\nbeam_size = {beams}\n'
    path = sample("en_two_speakers_long").path
    with running_server(tmp_path, config=config.format(beams=1)) as server:
        file = tmp_path / "router.toml"
        assert file.exists()
        async with asyncio.timeout(LIMIT_S), session() as http:
            undisturbed = await ask(http, server.url, path)
            running = begun(ask(http, server.url, path))
            while not (await queue(http, server.url)).get("running"):
                pass
            (old,) = [p for p in engine_processes(server) if "--model" in p.cmdline()][:1]
            file.write_text(config.format(beams=2))
            server.process.send_signal(signal.SIGHUP)
            line = await asyncio.to_thread(server.wait_for_log, "reloaded")
            assert line["changed"] == ["main"]
            assert await running == undisturbed
            assert (await ask(http, server.url, CLIP))[1]["text"] == "hello world"
            await asyncio.to_thread(psutil.wait_procs, [old], 10)
            assert not old.is_running()
            file.write_text("this is no TOML")
            server.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(server.wait_for_log, "reload_refused")
            async with http.post(f"{server.url}/v1/config/reload") as response:
                body = await response.json()
                assert (response.status, body["error"]["code"]) == (400, "invalid_configuration")
            assert (await ask(http, server.url, CLIP))[1]["text"] == "hello world"


async def queue(http, url: str) -> dict:
    async with http.get(f"{url}/v1/queue") as response:
        return (await response.json()).get("main", {})
