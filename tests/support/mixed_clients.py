"""Clients that send speech all the time, whole or streamed, and of whom some go away."""

import asyncio
import enum
import io
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from support.kept_router import KeptRouter, Life
from support.processes import begun

ANSWER_S = 90.0
"""A request that has no answer by then never gets one."""
LONGEST_UPLOAD_S, LONGEST_PATIENCE_S = 0.2, 1.0
CALM_S = 1.0
"""How long a worker may go on with a chunk that nobody waits for any more."""


class Way(enum.StrEnum):
    """What a client does with its request."""

    WHOLE = "whole"
    STREAM = "stream"
    TO_THE_END = "to the end"
    """It reads all that comes until the connection is closed."""
    HALF_AN_UPLOAD = "half an upload"
    IMPATIENT = "impatient"


class Kind(enum.StrEnum):
    """How a request ended, as its client sees it."""

    RIGHT = "answered with the right text"
    WRONG = "answered 200 with something else"
    ERROR = "answered with an error"
    LEFT = "left by the client"
    CUT = "connection lost"
    NOT_CONNECTED = "no connection"
    UNANSWERED = "not answered"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One request and what became of it. `detail` is the status and code of an error."""

    name: str
    way: Way
    alias: str
    began_s: float
    ended_s: float
    kind: Kind
    detail: str = ""

    def is_excused(self, life: Life, next_began_s: float) -> bool:
        """Tell whether it is not the router's fault, whose life may have ended meanwhile.

        A router that is killed outright may cut off whom it likes; one that was asked to stop only
        those whom it never began to serve.
        """
        if self.kind not in (Kind.CUT, Kind.NOT_CONNECTED) or life.ended_by is None:
            return False
        is_down_meanwhile = self.began_s <= next_began_s and life.ended_s <= self.ended_s
        is_killed = life.ended_by.name == "SIGKILL"
        return is_down_meanwhile and (is_killed or self.name not in life.heard_of)


class Clients:
    """So many clients at once, each with one request after the other."""

    def __init__(
        self, router: KeptRouter, texts: Mapping[Path, str], *, dice: random.Random
    ) -> None:
        """`texts` are the recordings, and what is heard in them."""
        self.outcomes: list[Outcome] = []
        self.open = 0
        self.sent: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        """Errors of the present and earlier outcomes, by status and code."""
        self.right: Counter[str] = Counter()
        """Right answers by alias."""
        self._router, self._texts, self._dice = router, texts, dice
        self._may_send, self._may_leave = asyncio.Event(), asyncio.Event()
        self._may_leave.set()
        self._last_left_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, count: int, aliases: Sequence[str], paths: Sequence[Path]) -> None:
        """Let so many clients begin; each request is one of the recordings for one alias."""
        self._may_send.set()
        self._tasks = [begun(self._client(aliases, paths)) for _ in range(count)]

    async def end(self) -> None:
        """Take all clients away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def pause(self) -> None:
        """Return once every request has ended; no other is sent until `go_on`."""
        self._may_send.clear()
        async with asyncio.timeout(2 * ANSWER_S):
            while self.open:  # noqa: ASYNC110 - the last of several tasks
                await asyncio.sleep(0.01)

    def go_on(self) -> None:
        """Let requests be sent again."""
        self._may_send.set()

    async def stay(self) -> None:
        """Return once nobody has left for a while; until `may_leave` nobody will."""
        self._may_leave.clear()
        await asyncio.sleep(max(0.0, self._last_left_s + CALM_S - time.monotonic()))

    def may_leave(self) -> None:
        """Let clients go away again."""
        self._may_leave.set()

    async def ask(self, alias: str, path: Path, way: Way) -> Outcome:
        """Send one request; return how it ended."""
        name, began_s = secrets.token_hex(12), time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                kind, detail = await self._end_of(name, alias, path, way)
        except TimeoutError:
            kind, detail = Kind.UNANSWERED, f"for {ANSWER_S:g} s"
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            kind, detail = Kind.NOT_CONNECTED, str(error)
        except (aiohttp.ClientError, ConnectionError, EOFError) as error:
            kind, detail = Kind.CUT, repr(error)
        return Outcome(
            name=name,
            way=way,
            alias=alias,
            began_s=began_s,
            ended_s=time.monotonic(),
            kind=kind,
            detail=detail,
        )

    async def _client(self, aliases: Sequence[str], paths: Sequence[Path]) -> None:
        while True:
            await self._may_send.wait()
            await self._router.is_up.wait()
            alias, way = self._dice.choice(aliases), self._dice.choice(list(Way))
            path = self._dice.choice(paths)
            self.open += 1
            self.sent[way.value] += 1
            try:
                self._note(await self.ask(alias, path, way))
            finally:
                self.open -= 1

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.kind is Kind.ERROR:
            self.codes[outcome.detail] += 1
        elif outcome.kind is Kind.RIGHT:
            self.right[outcome.alias] += 1

    async def _end_of(self, name: str, alias: str, path: Path, way: Way) -> tuple[Kind, str]:
        if way in (Way.WHOLE, Way.STREAM):
            return await self._by_library(name, alias, path, way)
        reader, writer = await asyncio.open_connection(*_address(self._router.url))
        try:
            return await self._by_hand(reader, writer, _request(name, alias, path), path, way)
        finally:
            writer.close()

    async def _by_library(self, name: str, alias: str, path: Path, way: Way) -> tuple[Kind, str]:
        form = aiohttp.FormData({"model": alias})
        if way is Way.STREAM:
            form.add_field("stream", "true")
        form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
        url, headers = f"{self._router.url}/v1/audio/transcriptions", {"X-Request-ID": name}
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.post(url, data=form, headers=headers) as response,
        ):
            body = await response.read()
            if way is Way.STREAM and response.status == 200:
                return streamed(body, self._texts[path])
            return whole(response.status, body, self._texts[path])

    async def _by_hand(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        path: Path,
        way: Way,
    ) -> tuple[Kind, str]:
        if way is Way.HALF_AN_UPLOAD:
            writer.write(request[: len(request) // 2])
            await writer.drain()
            await asyncio.sleep(self._dice.uniform(0, LONGEST_UPLOAD_S))
            return await self._leave()
        writer.write(request)
        await writer.drain()
        reading = begun(reader.read())
        try:
            patience_s = self._dice.uniform(0, LONGEST_PATIENCE_S)
            await asyncio.wait({reading}, timeout=patience_s if way is Way.IMPATIENT else None)
            if not reading.done():
                return await self._leave()
            return only_answer(await reading, self._texts[path])
        finally:
            reading.cancel()

    async def _leave(self) -> tuple[Kind, str]:
        await self._may_leave.wait()
        self._last_left_s = time.monotonic()
        return Kind.LEFT, ""


def whole(status: int, body: bytes, text: str) -> tuple[Kind, str]:
    """Judge an answer that is one JSON document."""
    try:
        found = json.loads(body)
        if status != 200:
            return Kind.ERROR, f"{status} {found['error']['code']}"
        return (Kind.RIGHT, "") if found["text"] == text else (Kind.WRONG, found["text"])
    except (ValueError, LookupError, TypeError) as error:
        return Kind.WRONG, f"{status} {error!r} {body[:200]!r}"


def streamed(body: bytes, text: str) -> tuple[Kind, str]:
    """Judge a stream: deltas that add up to the text of exactly one last event, or one error."""
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    events = [json.loads(line) for line in lines]
    lasts = [e for e in events if "error" in e or e.get("type") == "transcript.text.done"]
    if len(lasts) != 1 or events[-1] is not lasts[0]:
        return Kind.WRONG, f"the stream ended {len(lasts)} times: {body[-200:]!r}"
    if "error" in lasts[0]:
        return Kind.ERROR, f"200 {lasts[0]['error']['code']}"
    deltas = "".join(event.get("delta", "") for event in events)
    is_right = deltas == text == lasts[0]["text"]
    return (Kind.RIGHT, "") if is_right else (Kind.WRONG, f"{deltas!r} {lasts[0]['text']!r}")


def only_answer(data: bytes, text: str) -> tuple[Kind, str]:
    """Judge all that came over a connection: one answer, and nothing after it.

    Raises:
        EOFError: it ended before the answer did.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(x.partition(":")[2]) for x in lines if x.startswith("content-length:")), -1)
    if length < 0 or len(body) < length:
        raise EOFError(f"{len(data)} bytes came")
    if len(body) > length:
        return Kind.WRONG, f"more than one answer: {data[:1000]!r}"
    return whole(int(lines[0].split()[1]), body, text)


def _address(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def _request(name: str, alias: str, path: Path) -> bytes:
    body = (
        f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{alias}\r\n'
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    ).encode()
    body += path.read_bytes() + b"\r\n--b--\r\n"
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: router\r\nConnection: close\r\n"
        f"X-Request-ID: {name}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    return head.encode() + body
