"""Clients that go away in the middle of a request, at a stage of their choice.

Each stage is a context that sends a request, waits until the server is there with it, and yields
what makes the client go away: its connection is closed, as by a user who closes a window.
"""

import asyncio
import contextlib
import io
import re
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil

from support.chaos import media_workers
from support.client import ask, queue_of, until_queue
from support.engine_processes import forked_workers, frozen, the_worker
from support.processes import begun
from support.server import ServerProcess
from support.speech import joined, sample

CLIP = sample("en_hello_gb").path
MINUTE = sample("en_two_speakers_long").path
SPOOLED = re.compile(r"[0-9a-f]{24}(\.\w+)?")
BUSY_S = 0.05
POLL_S = 0.002

Leave = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A running server with one worker, which has run something already, and its directory."""

    server: ServerProcess
    http: aiohttp.ClientSession
    directory: Path

    @property
    def url(self) -> str:
        return self.server.url

    def spooled(self) -> Sequence[str]:
        """Return the names of uploads and decoded audio on the server's disk."""
        return sorted(
            path.name
            for path in self.directory.rglob("*")
            if SPOOLED.fullmatch(path.name) and path.is_file()
        )

    async def progress(self, request_id: str) -> Mapping[str, object]:
        """Return how far a request is; nothing while the server does not know it."""
        async with self.http.get(f"{self.url}/v1/progress/{request_id}") as response:
            found: Mapping[str, object] = await response.json() if response.status == 200 else {}
            return found

    async def until_stage(self, request_id: str, stage: str) -> None:
        """Return once a request is in this stage; the caller sets the time limit."""

        async def is_there() -> bool:
            return (await self.progress(request_id)).get("stage") == stage

        await _until(is_there)

    async def used(self) -> tuple[int, int, Sequence[str]]:
        """Return what requests hold: running chunks, waiting chunks, files."""
        queue = await queue_of(self.http, self.url)
        return queue["running"], len(queue["waiting"]), await asyncio.to_thread(self.spooled)

    async def until_used(self, expected: tuple[int, int, Sequence[str]]) -> None:
        """Return once requests hold no more and no less than `expected`."""

        async def is_so() -> bool:
            return await self.used() == expected

        await _until(is_so)


Stage = Callable[[Scene, str], AbstractAsyncContextManager[Leave]]


@asynccontextmanager
async def receiving(scene: Scene, request_id: str) -> AsyncIterator[Leave]:
    """Half of the upload was sent, and part of it is on the server's disk."""
    body = MINUTE.read_bytes()
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: router\r\n"
        f"X-Progress-ID: {request_id}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    parts = urlsplit(scene.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.encode() + body[: len(body) // 2])
        await writer.drain()
        await scene.until_stage(request_id, "receiving")
        await _until(partial(asyncio.to_thread, scene.spooled))
        yield writer.close
    finally:
        writer.close()


@asynccontextmanager
async def decoding(scene: Scene, request_id: str) -> AsyncIterator[Leave]:
    """A file that begins with half an hour of silence: there is nothing to transcribe yet."""
    path = await asyncio.to_thread(_silence, scene.directory / "silence.wav", 1800)
    async with _sent(scene, request_id, path) as leave:
        await scene.until_stage(request_id, "decoding")

        async def has_begun() -> bool:
            return bool((await scene.progress(request_id)).get("decoded_seconds"))

        await _until(has_begun)
        [worker] = map(psutil.Process, media_workers(scene.server))

        def go_on_and_leave() -> None:
            worker.resume()
            leave()

        with frozen(worker):  # so that it is still decoded when somebody looks
            yield go_on_and_leave


@asynccontextmanager
async def waiting(scene: Scene, request_id: str) -> AsyncIterator[Leave]:
    """Its first chunk waits for a worker that does nothing."""
    async with _sent(scene, request_id, CLIP) as leave:
        await until_queue(scene.http, scene.url, running=1, waiting=1)
        yield leave


@asynccontextmanager
async def busy(scene: Scene) -> AsyncIterator[None]:
    """The only worker has a chunk of somebody else's and does nothing."""
    with frozen(the_worker(scene.server)):
        blocker = begun(ask(scene.http, scene.url, CLIP))
        await until_queue(scene.http, scene.url, running=1, waiting=0)
        yield
    assert (await blocker)[0] == 200


@asynccontextmanager
async def transcribing(scene: Scene, request_id: str) -> AsyncIterator[Leave]:
    """The first chunk of twenty minutes has been begun."""
    path = await _long(scene, 20)
    used_s = _computed_s(scene)
    async with _sent(scene, request_id, path) as leave:
        await _until(partial(asyncio.to_thread, _has_computed, scene, used_s + BUSY_S))
        yield leave


@asynccontextmanager
async def streaming(scene: Scene, request_id: str) -> AsyncIterator[Leave]:
    """Some of the text of twenty minutes has arrived."""
    path = await _long(scene, 20)
    arrived = asyncio.Event()
    async with _sent(scene, request_id, path, arrived, stream="true") as leave:
        await arrived.wait()
        yield leave


STAGES: Mapping[str, Stage] = {
    "receiving": receiving,
    "decoding": decoding,
    "waiting": waiting,
    "transcribing": transcribing,
    "streaming": streaming,
}


@asynccontextmanager
async def _sent(
    scene: Scene,
    request_id: str,
    path: Path,
    arrived: asyncio.Event | None = None,
    **fields: str,
) -> AsyncIterator[Leave]:
    """Send a file on a connection of its own; leaving closes that."""
    form = aiohttp.FormData({"model": "whisper-1"} | fields)
    data = await asyncio.to_thread(path.read_bytes)
    form.add_field("file", io.BytesIO(data), filename=path.name)

    async def post() -> None:
        async with (
            aiohttp.ClientSession() as own,
            own.post(
                f"{scene.url}/v1/audio/transcriptions",
                data=form,
                headers={"X-Progress-ID": request_id},
            ) as response,
        ):
            await response.content.readline()
            if arrived is not None:
                arrived.set()
            await response.read()

    call = begun(post())
    try:
        yield lambda: bool(call.cancel()) or None
    finally:
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call


async def _until(holds: Callable[[], Awaitable[object]]) -> None:
    while not await holds():  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(POLL_S)


def _has_computed(scene: Scene, limit_s: float) -> bool:
    return _computed_s(scene) > limit_s


def _computed_s(scene: Scene) -> float:
    return sum(worker.cpu_times().user for worker in forked_workers(scene.server))


async def _long(scene: Scene, minutes: int) -> Path:
    path = scene.directory / f"{minutes}.wav"
    if not path.exists():
        await asyncio.to_thread(joined, path, *[MINUTE] * minutes)
    return path


def _silence(path: Path, seconds: int) -> Path:
    if not path.exists():
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(bytes(2 * 16_000 * seconds))
    return path
