"""`whisper-router bench`: sends recordings to a server, several at a time, and says how it did."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from whisper_router.commands.bench_audio import Clip, bundled_clips, clips_of_files
from whisper_router.commands.bench_figures import Row, table
from whisper_router.commands.bench_order import BenchOrder
from whisper_router.commands.event_stream import EventStream
from whisper_router.commands.own_server import trust_in
from whisper_router.commands.remote_key import key_headers
from whisper_router.errors import EngineError, Unavailable

CONNECT_S = 10.0
PAUSE_S = 0.25
"""Between two attempts of a client that could not connect: it would do nothing else otherwise."""
GONE_S = 10.0
"""A server to which nobody could connect for so long does not come back; a restart is quicker."""
MAX_ERROR_BYTES = 64 * 1024
EVENTS_TYPE = "text/event-stream"
FAILED, INTERRUPTED = 1, 130


class AnswerError(Exception):
    """A request was not answered in full. `code` is the server's, or says what went wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GoneError(Exception):
    """The server cannot be connected to any more."""


async def bench(order: BenchOrder) -> int:
    """Print a row of figures for each concurrency.

    Returns 0, 1 when a request failed, 130 when Ctrl-C ended it: then the figures are of what was
    answered until then. So they are when the server has gone.

    Raises:
        InvalidRequest, ConfigurationError: there is nothing to send.
        Unavailable: the server cannot be reached.
        EngineError: it refuses the first request; the message is its own.
    """
    rows: list[Row] = []
    is_interrupted = is_gone = False
    try:
        is_interrupted = await _until_interrupted(_measure(order, rows))
    except* GoneError:
        is_gone = True
    rows = [row for row in rows if row.done + row.failed]
    print(json.dumps([row.as_json() for row in rows]) if order.as_json else table(rows))
    if is_gone:
        print(f"{order.address}: gone for {GONE_S:g} s; no more is measured", file=sys.stderr)
    if is_interrupted:
        return INTERRUPTED
    return FAILED if any(row.failed for row in rows) else 0


class Load:
    """Makes requests to one server."""

    def __init__(self, http: aiohttp.ClientSession, order: BenchOrder, clips: list[Clip]) -> None:
        self._http, self._order, self._clips = http, order, clips
        self._lost_s: float | None = None
        """Since when nobody could connect."""

    async def warm_up(self) -> None:
        """Make the requests that are not counted; the first one shows whether there is any use.

        Raises:
            Unavailable, EngineError: as `bench`.
        """
        for clip in islice(cycle(self._clips), self._order.warmup):
            try:
                await self._ask(clip)
            except AnswerError as error:
                raise EngineError(f"{self._order.address}: {error}") from error
            except TimeoutError as error:
                limit = f"no answer within {self._order.timeout_s:g} s (--timeout)"
                raise Unavailable(f"{self._order.address}: {limit}") from error
            except aiohttp.ClientError as error:
                reason = str(error) or type(error).__name__
                raise Unavailable(f"{self._order.address}: {reason}") from error

    async def run(self, row: Row) -> None:
        """Make the requests of a row. Whoever ends it early finds in `row` what came until then.

        Raises:
            ExceptionGroup: of GoneError.
        """
        began_s = time.perf_counter()
        work = self._work(began_s)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(row.concurrency):
                    group.create_task(self._client(work, row))
        finally:
            row.took_s = time.perf_counter() - began_s

    def _work(self, began_s: float) -> Iterator[Clip]:
        """Yield the recordings in turn, to all clients together, until it is enough."""
        order = self._order
        if order.duration_s is None:
            yield from islice(cycle(self._clips), order.requests)
            return
        for clip in cycle(self._clips):
            if time.perf_counter() - began_s >= order.duration_s:
                return
            yield clip

    async def _client(self, work: Iterator[Clip], row: Row) -> None:
        for clip in work:
            began_s = time.perf_counter()
            try:
                first_text_s = await self._ask(clip)
            except aiohttp.ClientConnectorError as error:
                row.errors[type(error).__name__] += 1
                await self._wait_for_server()
                continue
            except AnswerError as error:
                row.errors[error.code] += 1
            except TimeoutError:
                row.errors["timeout"] += 1
            except aiohttp.ClientError as error:
                row.errors[type(error).__name__] += 1
            else:
                took_s = time.perf_counter() - began_s
                row.add(took_s=took_s, audio_s=clip.seconds, first_text_s=first_text_s)
            self._lost_s = None

    async def _wait_for_server(self) -> None:
        """Pause after an attempt to connect that has failed. Raises GoneError: one too many."""
        now_s = time.perf_counter()
        if self._lost_s is None:
            self._lost_s = now_s
        elif now_s - self._lost_s >= GONE_S:
            raise GoneError
        await asyncio.sleep(PAUSE_S)

    async def _ask(self, clip: Clip) -> float | None:
        """Make one request; return after how many seconds its first text came, if it streams.

        Raises:
            AnswerError: the answer is an error, or not complete.
            aiohttp.ClientError, TimeoutError: there is no answer.
        """
        form = aiohttp.FormData(dict(self._order.fields))
        form.add_field("file", await asyncio.to_thread(clip.body), filename=clip.name)
        began_s = time.perf_counter()
        async with self._http.post(self._order.address, data=form) as response:
            if response.status != 200:
                raise _refusal(response.status, await response.content.read(MAX_ERROR_BYTES))
            if response.content_type == EVENTS_TYPE:
                return await _first_text_s(response, began_s)
            async for _ in response.content.iter_any():
                pass  # read to its end, and not kept
        return None


async def _first_text_s(response: aiohttp.ClientResponse, began_s: float) -> float | None:
    stream, first_s, done = EventStream(), None, False
    async for piece in response.content.iter_any():
        for event in stream.feed(piece):
            match event:
                case {"type": "transcript.text.delta"} if first_s is None:
                    first_s = time.perf_counter() - began_s
                case {"type": "transcript.text.done"}:
                    done = True
                case {"error": {"message": str(message), **error}}:
                    raise AnswerError(str(error.get("code") or "error_in_stream"), message)
    if not done:
        raise AnswerError("stream_cut", "the stream ended before it was complete")
    return first_s


def _refusal(status: int, body: bytes) -> AnswerError:
    """Return the error in an answer; it may be no envelope at all."""
    with suppress(ValueError, KeyError, TypeError):
        error = json.loads(body)["error"]
        code = str(error.get("code") or f"http_{status}")
        return AnswerError(code, f"the server answered {status}: {error['message']}")
    return AnswerError(f"http_{status}", f"the server answered {status}")


def _clips(order: BenchOrder, folder: Path) -> list[Clip]:
    if order.files:
        return clips_of_files(order.files)
    return bundled_clips(language=order.language, seconds=order.seconds, folder=folder)


async def _measure(order: BenchOrder, rows: list[Row]) -> None:
    headers = key_headers(order.api_key)
    timeout = aiohttp.ClientTimeout(total=order.timeout_s, sock_connect=CONNECT_S)
    trust = await asyncio.to_thread(trust_in, order.certificate)
    connector = aiohttp.TCPConnector(limit=0, ssl=trust)
    with TemporaryDirectory(prefix="whisper-router-bench-") as folder:
        clips = await asyncio.to_thread(_clips, order, Path(folder))
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector
        ) as http:
            load = Load(http, order, clips)
            await load.warm_up()
            for concurrency in order.concurrency:
                rows.append(Row(concurrency=concurrency))
                if not order.as_json and sys.stderr.isatty():
                    print(f"{concurrency} at once …", file=sys.stderr)
                await load.run(rows[-1])


async def _until_interrupted(measuring: Coroutine[None, None, None]) -> bool:
    """Run it; return whether Ctrl-C has ended it before its time. Raises what it raises."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(measuring, name="measure")
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()
    return interrupted.is_set()
