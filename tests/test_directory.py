"""/v1/models and /ready of a real server: what is told of a model in each of its states."""

import asyncio
import shutil
import sys
from typing import Any

import aiohttp
import pytest

from support.api_app import sample_path
from support.client import ask, session, state_of
from support.hub import Fault, Hub
from support.in_process import settings_in
from whisper_router.directory import Directory
from whisper_router.errors import ModelInUse, ModelNotFound, PermissionDenied
from whisper_router.serve import RunningServer, running_server
from whisper_router.supervisor.machine import State
from whisper_router_engines.whispercpp.engine import DEMO_MODEL

LIMIT_S = 60


async def ready(http: aiohttp.ClientSession, server: RunningServer) -> tuple[int, Any]:
    """Return status and body of /ready."""
    async with http.get(f"{server.url}/ready") as response:
        return response.status, await response.json()


async def listed(http: aiohttp.ClientSession, server: RunningServer) -> dict[str, Any]:
    """Return what /v1/models lists, by id."""
    async with http.get(f"{server.url}/v1/models") as response:
        return {model["id"]: model for model in (await response.json())["data"]}


async def test_a_model_is_stopped_until_its_first_request_and_then_says_what_it_computes_on(
    tmp_path,
):
    """`acceleration` tells what was asked for and what is in effect, once that is known."""
    models = {"plain": {"model": "demo", "acceleration": "none"}}
    async with running_server(settings_in(tmp_path, models=models)) as server, session() as http:
        before = await state_of(http, server.url, "plain")
        assert (before["state"], before["engine"], before["owned_by"]) == (
            "stopped",
            "whispercpp",
            "configured",
        )
        assert "acceleration" not in before
        status, answer = await ask(http, server.url, sample_path("en_hello_gb.wav"), model="plain")
        assert (status, answer["text"]) == (200, "hello world")
        after = await state_of(http, server.url, "plain")
        assert after["state"] == "ready"
        assert after["acceleration"] == {"requested": "none", "in_effect": "cpu"}


async def test_presets_are_listed_when_their_file_is_here_and_found_in_any_case(tmp_path):
    """A file that somebody put there counts if it has the right size."""
    store = tmp_path / "models" / "ggerganov--whisper.cpp"
    store.mkdir(parents=True)
    (store / "ggml-base.bin").write_bytes(b"not of its size")
    with (store / "ggml-tiny.bin").open("wb") as file:
        file.truncate(77_691_713)
    async with running_server(settings_in(tmp_path)) as server, session() as http:
        shown = await listed(http, server)
        assert shown["tiny"]["state"] == "stopped"
        assert "base" not in shown
        assert (await state_of(http, server.url, "base"))["state"] == "absent"


async def test_openai_names_say_which_model_they_are(tmp_path):
    """`model` is the name in our configuration."""
    async with running_server(settings_in(tmp_path)) as server, session() as http:
        shown = await listed(http, server)
        assert shown["whisper-1"]["model"] == "demo"
        assert "model" not in shown["demo"]
        assert shown["demo"]["owned_by"] == "bundled"
        assert await ready(http, server) == (200, {"status": "ready"})


@pytest.mark.parametrize("default", [{"path": "/no/such/ggml.bin"}, {"model": "tiny"}])
async def test_not_ready_while_the_default_models_file_is_missing_and_cannot_come(
    tmp_path, default
):
    """The reason names the file; nothing is started to find out."""
    settings = settings_in(tmp_path, default_model="main", models={"main": default})
    async with running_server(settings) as server, session() as http:
        status, body = await ready(http, server)
        assert (status, body["error"]["code"]) == (503, "not_ready")
        assert "default model 'main' is not here: /" in body["error"]["message"]
        assert (await state_of(http, server.url, "main"))["state"] == "absent"


async def test_ready_when_the_default_model_would_be_fetched_by_its_first_request(tmp_path):
    """It is absent, and that is no obstacle."""
    settings = settings_in(tmp_path, default_model="tiny", store={"offline": False})
    async with running_server(settings) as server, session() as http:
        assert (await ready(http, server))[0] == 200


async def test_a_default_model_that_does_not_start_is_the_reason_until_it_does(tmp_path):
    """The engine's last words are in /ready and in the model's entry."""
    weights = tmp_path / "ggml-mine.bin"
    weights.write_bytes(b"this is no model")
    settings = settings_in(tmp_path, default_model="main", models={"main": {"path": str(weights)}})
    async with running_server(settings) as server, session() as http:
        assert (await ready(http, server))[0] == 200
        status, answer = await ask(http, server.url, sample_path("en_hello_gb.wav"))
        assert (status, answer["error"]["code"]) == (503, "engine_start_failed")
        status, body = await ready(http, server)
        assert status == 503
        assert "ggml-mine.bin" in str(body)
        assert "ggml-mine.bin" in (await state_of(http, server.url, "main"))["last_error"]


async def test_a_readiness_probe_brings_a_default_model_back(tmp_path):
    """Nobody sends requests to a server that is not ready: the question makes the attempt."""
    weights = tmp_path / "ggml-mine.bin"
    weights.write_bytes(b"this is no model")
    settings = settings_in(tmp_path, default_model="main", models={"main": {"path": str(weights)}})
    async with running_server(settings) as server, session() as http:
        await ask(http, server.url, sample_path("en_hello_gb.wav"))
        assert (await ready(http, server))[0] == 503
        shutil.copy(DEMO_MODEL, weights)
        async with asyncio.timeout(LIMIT_S):
            while (await ready(http, server))[0] != 200:
                pass
        assert server.router.supervisor.pool("main").brief().state is State.READY


async def test_not_ready_while_no_media_worker_can_be_started(tmp_path, monkeypatch):
    """Nothing could be decoded; the last words of the worker say why."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    settings = settings_in(tmp_path)
    async with running_server(settings) as server, session() as http:
        async with asyncio.timeout(LIMIT_S):
            while (await ready(http, server))[0] == 200:
                pass
        _, body = await ready(http, server)
        assert "No media worker could be started" in body["error"]["message"]
        monkeypatch.undo()
        async with asyncio.timeout(LIMIT_S):
            while (await ready(http, server))[0] != 200:
                pass


async def test_an_unknown_name_has_no_entry(tmp_path):
    """404, with the nearest name."""
    async with (
        running_server(settings_in(tmp_path)) as server,
        session() as http,
        http.get(f"{server.url}/v1/models/dmeo") as response,
    ):
        assert response.status == 404
        assert "'demo'" in (await response.json())["error"]["message"]


async def test_a_model_that_was_put_there_while_the_server_runs_is_used(tmp_path):
    """The disk is asked each time, not remembered."""
    weights = tmp_path / "ggml-mine.bin"
    settings = settings_in(tmp_path, default_model="main", models={"main": {"path": str(weights)}})
    async with running_server(settings) as server, session() as http:
        assert (await ready(http, server))[0] == 503
        shutil.copy(DEMO_MODEL, weights)
        assert (await ready(http, server))[0] == 200
        status, _ = await ask(http, server.url, sample_path("en_hello_gb.wav"))
        assert status == 200
        assert server.router.supervisor.pool("main").brief().state is State.READY


async def test_the_last_of_several_requests_decides_how_long_the_engine_stays(tmp_path):
    """One that says `keep_alive=0` does not unload it under the others."""
    async with running_server(settings_in(tmp_path)) as server:
        directory, pool = Directory(server.router), server.router.supervisor.pool("demo")
        asked: list[float | None] = []
        pool.keep_alive = asked.append
        with directory.in_use("demo", None):
            with directory.in_use("demo", 0.0):
                pass
            assert asked == [None]
        assert asked == [None, None]
        with directory.in_use("demo", 0.0):
            pass
        assert asked[2:] == [None, 0.0]


async def test_every_model_of_the_catalogue_is_told_by_its_own_name(tmp_path):
    """With the languages that it hears, and without looking at the network."""
    models = {"mine": {"model": "demo"}}
    async with running_server(settings_in(tmp_path, models=models)) as server:
        entries = {entry.id: entry for entry in await Directory(server.router).catalogue()}
    assert {"mine", "demo", "tiny", "large-v3-turbo-q5_0"} <= set(entries)
    assert "whisper-1" not in entries
    assert entries["tiny"].extra["state"] == "absent"
    assert entries["tiny.en"].languages == ["en"]
    assert {"en", "de", "yue"} <= set(entries["tiny"].languages)


async def test_a_model_is_loaded_and_unloaded_once(tmp_path):
    """Whatever it is called."""
    async with running_server(settings_in(tmp_path)) as server:
        directory = Directory(server.router)
        assert not directory.loaded()
        assert await directory.load("whisper-1")
        assert not await directory.load("demo")
        assert directory.loaded() == ["demo"]
        with directory.in_use("demo", None), pytest.raises(ModelInUse):
            await directory.unload("demo")
        assert await directory.unload("whisper-1")
        assert not await directory.unload("demo")
        assert not directory.loaded()
        with pytest.raises(ModelNotFound):
            await directory.load("nobody")


async def test_what_is_served_elsewhere_is_not_unloaded_here(tmp_path):
    """Nor is there anything to download or to remove."""
    models = {"far": {"engine": "upstream", "base_urls": ["http://127.0.0.1:9/v1"]}}
    async with running_server(settings_in(tmp_path, models=models)) as server:
        directory = Directory(server.router)
        with pytest.raises(PermissionDenied):
            await directory.unload("far")
        with pytest.raises(PermissionDenied):
            await directory.remove("far")
        assert not await directory.download("far")


async def test_a_file_is_fetched_and_deleted_under_all_its_names(tmp_path):
    """An engine that nobody uses is unloaded first; while somebody uses one, nothing happens."""
    source = {"repo": "somebody/models", "file": "ggml-remote.bin"}
    async with Hub().running() as hub:
        hub.add("somebody/models/ggml-remote.bin", DEMO_MODEL.read_bytes())
        settings = settings_in(
            tmp_path,
            models={"remote": source, "same": source},
            store={"offline": False, "endpoint": hub.url, "min_free_bytes": 0},
        )
        async with running_server(settings) as server:
            directory = Directory(server.router)
            assert await directory.download("remote")
            assert not await directory.download("same")
            await directory.load("same")
            with directory.in_use("same", None), pytest.raises(ModelInUse):
                await directory.remove("remote")
            assert directory.loaded() == ["same"]
            await directory.remove("remote")
            assert not directory.loaded()
            assert (await directory.model("same")).extra["state"] == "absent"
            with pytest.raises(ModelNotFound, match="not here"):
                await directory.remove("same")


async def test_a_model_that_is_being_fetched_is_not_removed(tmp_path):
    """Who wants that stops the download by other means."""
    may_go_on, name = asyncio.Event(), "somebody/models/ggml-remote.bin"
    async with Hub().running() as hub:
        hub.add(name, DEMO_MODEL.read_bytes())
        hub.faults[name].append(Fault(after_bytes=1000, hold=may_go_on))
        settings = settings_in(
            tmp_path,
            models={"remote": {"repo": "somebody/models", "file": "ggml-remote.bin"}},
            store={"offline": False, "endpoint": hub.url, "min_free_bytes": 0},
        )
        async with running_server(settings) as server, asyncio.timeout(LIMIT_S):
            directory = Directory(server.router)
            async with asyncio.TaskGroup() as group:
                fetching = group.create_task(directory.download("remote"))
                while (await directory.model("remote")).extra["state"] != "downloading":
                    assert not fetching.done()
                with pytest.raises(ModelInUse, match="being downloaded"):
                    await directory.remove("remote")
                may_go_on.set()
            assert fetching.result()


async def test_files_of_others_are_left_alone(tmp_path):
    """Those that the configuration names by path, and the one of the package."""
    mine = tmp_path / "ggml-mine.bin"
    models = {"mine": {"path": str(mine)}}
    async with running_server(settings_in(tmp_path, models=models)) as server:
        directory = Directory(server.router)
        with pytest.raises(PermissionDenied, match=r"ggml-mine\.bin"):
            await directory.download("mine")
        shutil.copy(DEMO_MODEL, mine)
        assert not await directory.download("mine")
        for name in ("mine", "demo"):
            with pytest.raises(PermissionDenied):
                await directory.remove(name)
        assert mine.is_file()
