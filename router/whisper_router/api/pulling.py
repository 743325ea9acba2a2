"""`POST /v1/processes/{alias}/pull`: the model's file is fetched, and how far that is, is told."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from whisper_router.api.admin import ALIAS
from whisper_router.api.auth import require_admin
from whisper_router.api.deps import DEPS, STOPPING
from whisper_router.api.problems import count_error, internal_error
from whisper_router.api.sse import EVENT_STREAM, HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, json_response
from whisper_router.errors import RouterError
from whisper_router.models.download import DownloadProgress
from whisper_router.tasks import Tasks

REFRESH_S: Final = 0.25
Json = dict[str, Any]


def routes() -> Sequence[web.RouteDef]:
    """Return the route."""
    return [web.post(f"{ALIAS}/pull", pull)]


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /v1/processes/{alias}/pull: answers when the file is here, or with events until then.

    The download goes on if the client leaves; whoever asks meanwhile joins it.
    """
    await require_admin(request)
    alias = request.match_info["alias"]
    if EVENT_STREAM in request.headers.get("Accept", ""):
        return await _Telling(request, alias).run()
    downloaded = await request.app[DEPS].models.pull(alias)
    return json_response({"id": alias, "downloaded": downloaded})


class _Telling:
    """One stream: a task waits for the file, the handler tells how far it is."""

    def __init__(self, request: web.Request, alias: str) -> None:
        self._request, self._alias = request, alias
        self._latest: DownloadProgress | None = None
        self._outcome: bool | Exception | None = None
        self._news = asyncio.Event()

    async def run(self) -> web.StreamResponse:
        """Tell it all. Raises RouterError while nothing has been told."""
        tasks = Tasks()
        waiting = tasks.spawn(self._wait(), name=f"pull {self._alias}")
        try:
            await self._news.wait()
            if isinstance(self._outcome, Exception):
                raise self._outcome
            response = web.StreamResponse(headers=HEADERS)
            try:
                await response.prepare(self._request)
                await self._tell(response, waiting)
            except ConnectionError:
                pass
            return response
        finally:
            await tasks.close()

    async def _wait(self) -> None:
        try:
            models = self._request.app[DEPS].models
            self._outcome = await models.pull(self._alias, self._note)
        except Exception as error:  # noqa: BLE001 (the handler tells it)
            self._outcome = error
        self._news.set()

    def _note(self, progress: DownloadProgress) -> None:
        self._latest = progress
        self._news.set()

    async def _tell(self, response: web.StreamResponse, waiting: "asyncio.Task[None]") -> None:
        """Send what is new, but not more often than anybody can read it."""
        clock, heartbeat_s = asyncio.get_running_loop().time, self._request.app[DEPS].heartbeat_s
        told, sent_s = None, clock()
        while not self._request.app[STOPPING].is_set():
            if self._latest is not None and self._latest != told:
                told, sent_s = self._latest, clock()
                await response.write(_frame(_progress(told)))
            elif clock() - sent_s >= heartbeat_s:
                sent_s = clock()
                await response.write(HEARTBEAT)
            if self._outcome is not None:
                await response.write(_frame(self._end(self._outcome)))
                return
            await asyncio.wait({waiting}, timeout=REFRESH_S)

    def _end(self, outcome: bool | Exception) -> Json:  # noqa: FBT001
        if not isinstance(outcome, Exception):
            return {"type": "done", "id": self._alias, "downloaded": outcome}
        error = outcome if isinstance(outcome, RouterError) else internal_error()
        count_error(error)
        return {"type": "error", **error.envelope()}


def _progress(progress: DownloadProgress) -> Json:
    return {
        "type": "progress",
        "downloaded_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "bytes_per_second": round(progress.bytes_per_s, 1),
        "waiting": progress.waiting,
    }


def _frame(body: Json) -> bytes:
    return b"data: " + encode_json(body) + b"\n\n"
