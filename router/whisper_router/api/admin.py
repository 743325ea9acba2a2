"""What administrators see and do: engine processes, their output, the configuration."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict

from aiohttp import web

from whisper_router.api.auth import require_admin
from whisper_router.api.deps import DEPS, STOPPING
from whisper_router.api.fields import quoted
from whisper_router.api.services import ModelFile
from whisper_router.api.sse import EVENT_STREAM, HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, json_response
from whisper_router.errors import InvalidParameter
from whisper_router.models.download import DownloadProgress
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolStatus, ProcessStatus

ALIAS = "/v1/processes/{alias:.+}"
DEFAULT_LINES, MOST_LINES = 100, 10_000
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def routes() -> Sequence[web.RouteDef]:
    """Return the routes. An alias may hold slashes, so its actions come before itself."""
    return [
        web.get("/v1/processes", show_processes),
        web.post(f"{ALIAS}/load", load),
        web.post(f"{ALIAS}/unload", unload),
        web.post(f"{ALIAS}/pin", pin),
        web.post(f"{ALIAS}/unpin", unpin),
        web.get(f"{ALIAS}/logs", show_logs),
        web.get(ALIAS, show_process),
        web.get("/v1/config", show_config),
        web.post("/v1/config/reload", reload_config),
    ]


async def show_processes(request: web.Request) -> web.Response:
    """GET /v1/processes: every alias with its processes."""
    await require_admin(request)
    processes = request.app[DEPS].processes
    statuses = await processes.statuses()
    files = await processes.files([status.alias for status in statuses])
    return json_response(
        {
            "object": "list",
            "data": [_body(status, files[status.alias]) for status in statuses],
            "memory": asdict(processes.memory()),
        }
    )


async def show_process(request: web.Request) -> web.Response:
    """GET /v1/processes/{alias}."""
    return await _answer(request, await _pool(request))


async def load(request: web.Request) -> web.Response:
    """POST /v1/processes/{alias}/load: answers once a process serves, or with why none does."""
    pool = await _pool(request)
    if pool.brief().state is not State.READY:  # one that serves need not be waited for
        await pool.warm()
    return await _answer(request, pool)


async def unload(request: web.Request) -> web.Response:
    """POST /v1/processes/{alias}/unload: answers once all memory is back.

    Running chunks are waited for; with `force=true` they are interrupted and run again later.
    """
    pool, force = await _pool(request), _flag(request, "force")
    await pool.unload(force=force)
    return await _answer(request, pool)


async def pin(request: web.Request) -> web.Response:
    """POST /v1/processes/{alias}/pin: what is loaded stays although nobody uses it."""
    pool = await _pool(request)
    pool.pin(is_pinned=True)
    return await _answer(request, pool)


async def unpin(request: web.Request) -> web.Response:
    """POST /v1/processes/{alias}/unpin."""
    pool = await _pool(request)
    pool.pin(is_pinned=False)
    return await _answer(request, pool)


async def show_logs(request: web.Request) -> web.StreamResponse:
    """GET /v1/processes/{alias}/logs: the last lines, or server-sent events as more come."""
    pool, lines = await _pool(request), _lines(request)
    if EVENT_STREAM in request.headers.get("Accept", ""):
        return await _stream(request, pool, lines)
    return json_response({"object": "list", "data": pool.output(lines)})


async def show_config(request: web.Request) -> web.Response:
    """GET /v1/config: the settings in effect, secrets as asterisks."""
    await require_admin(request)
    return json_response(request.app[DEPS].processes.config())


async def reload_config(request: web.Request) -> web.Response:
    """POST /v1/config/reload: as SIGHUP, but the answer tells what came of it."""
    await require_admin(request)
    return json_response(await request.app[DEPS].processes.reload())


async def _pool(request: web.Request) -> ModelPool:
    await require_admin(request)
    return request.app[DEPS].processes.pool(request.match_info["alias"])


async def _answer(request: web.Request, pool: ModelPool) -> web.Response:
    files = await request.app[DEPS].processes.files([pool.alias])
    return json_response(_body(await pool.status(), files[pool.alias]))


async def _stream(request: web.Request, pool: ModelPool, lines: int) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    clock, heartbeat_s = asyncio.get_running_loop().time, request.app[DEPS].heartbeat_s
    sent_s = clock()
    async with aclosing(pool.follow(lines)) as batches:
        async for batch in batches:
            if request.app[STOPPING].is_set():  # it would hold up the end of the server
                return response
            frames = b"".join(b"data: " + encode_json({"line": line}) + b"\n\n" for line in batch)
            if not frames and clock() - sent_s >= heartbeat_s:
                frames = HEARTBEAT
            if not frames:
                continue
            try:
                await response.write(frames)
            except ConnectionError:
                return response
            sent_s = clock()
    return response


def _lines(request: web.Request) -> int:
    text = request.query.get("lines", str(DEFAULT_LINES))
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > MOST_LINES:
        raise InvalidParameter(
            f"'lines' must be a number from 0 to {MOST_LINES}, not {quoted(text)}.", param="lines"
        )
    return int(text)


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false").lower()
    if text not in BOOLEANS:
        raise InvalidParameter(f"'{name}' must be true or false, not {quoted(text)}.", param=name)
    return BOOLEANS[text]


def _body(status: PoolStatus, file: ModelFile) -> dict[str, object]:
    return {
        "id": status.alias,
        "object": "process_pool",
        "engine": status.engine,
        "state": status.state.value,
        "breaker": status.breaker.value,
        "pinned": status.is_pinned,
        "leases": status.leases,
        "waiting": status.waiting,
        "capacity": status.capacity,
        "model_file": None if status.model is None else str(status.model),
        "acceleration": {"requested": status.requested, "in_effect": status.accelerator},
        "rss_bytes": status.rss_bytes,
        "model_present": file.is_present,
        "download": _download(file.download),
        "memory_bytes": status.memory_bytes,
        "idle_unload_seconds": status.idle_unload_s,
        "idle_seconds": _rounded(status.idle_s),
        "unloads_in_seconds": _rounded(status.unloads_in_s),
        "starts": status.starts,
        "crashes": status.crashes,
        "recycles": status.recycles,
        "last_error": status.last_error,
        "processes": [_process(process) for process in status.processes],
    }


def _download(progress: DownloadProgress | None) -> dict[str, object] | None:
    if progress is None:
        return None
    return {"downloaded_bytes": progress.done_bytes, "total_bytes": progress.total_bytes}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _process(process: ProcessStatus) -> dict[str, object]:
    extra: dict[str, object] = {} if process.url is None else {"url": process.url}
    if process.gpu is not None:
        extra |= {"gpu": process.gpu, "gpu_memory_bytes": process.gpu_bytes}
    return extra | {
        "pid": process.pid,
        "state": process.state.value,
        "leases": process.leases,
        "starts": process.starts,
        "crashes": process.crashes,
        "recycles": process.recycles,
        "chunks": process.chunks,
        "rss_bytes": process.rss_bytes,
        "accelerator": process.accelerator,
        "last_error": process.last_error,
    }
