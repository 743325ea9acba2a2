"""Sends audio to a server as if somebody spoke just now, and prints what it hears."""

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import cast

import aiohttp
import av
from av.error import FFmpegError
from rich.cells import cell_len

from whisper_router.commands.own_server import trust_in
from whisper_router.commands.remote_key import key_headers
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import EngineError, InvalidRequest, Unavailable
from whisper_router.tasks import Tasks

BLOCK_S = 0.1
BLOCK_BYTES = round(BLOCK_S * SAMPLE_RATE_HZ) * 2
READ_AHEAD = 20
"""Blocks that are read before they are sent."""
NO_DATA_S = "60"
"""How long a pipe may pause before the server takes the audio for finished."""
CONNECT_S = 10.0
FADED, PLAIN, CLEAR_LINE = "\x1b[2m", "\x1b[22m", "\x1b[K"  # ECMA-48: SGR 2 and 22, EL


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOrder:
    """What to listen to, and where. `path` None: standard input.

    `certificate` is the server's own, if it is the configured one.
    """

    path: Path | None
    url: str
    api_key: str | None
    model: str
    language: str | None
    prompt: str
    as_json: bool
    certificate: Path | None = None

    @property
    def address(self) -> str:
        """Return where the WebSocket is; the URL may end with `/v1` or not."""
        base = self.url.rstrip("/")
        return f"{base if base.endswith('/v1') else base + '/v1'}/audio/transcriptions"

    @property
    def query(self) -> dict[str, str]:
        """Return what to ask for: all text, also what may change, and no end before ours."""
        named = {"language": self.language, "prompt": self.prompt}
        return {
            "model": self.model,
            "interim": "true",
            "inactivity_s": "0",
            "no_data_s": NO_DATA_S,
            **{name: value for name, value in named.items() if value},
        }


async def listen(order: ListenOrder) -> int:
    """Return 0 once all is heard.

    Raises:
        InvalidRequest: the file is no audio.
        Unavailable: the server cannot be reached.
        ConfigurationError: there is no certificate where one is configured.
        EngineError: it refused, or closed the session with an error; the message is its own.
    """
    headers = key_headers(order.api_key)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    trust = await asyncio.to_thread(trust_in, order.certificate)
    connector = aiohttp.TCPConnector(ssl=trust)
    try:
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector
        ) as http:
            await _listen(http, order)
    except aiohttp.ClientError as error:
        raise Unavailable(f"{order.address}: {error}") from error
    return 0


async def _listen(http: aiohttp.ClientSession, order: ListenOrder) -> None:
    try:
        socket = await http.ws_connect(order.address, params=order.query, max_msg_size=0)
    except aiohttp.WSServerHandshakeError as error:
        raise EngineError(await _refusal(http, order, error.status)) from error
    tasks = Tasks()
    paper = JsonLines() if order.as_json else Paper(_width())
    speaking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks.spawn(_speak(socket, order.path, speaking), name="send audio")
    try:
        async with socket:
            async for message in socket:
                paper.write(message.data)
    finally:
        await tasks.close()
        paper.end()
    if speaking.done():
        speaking.result()
    if socket.close_code not in {aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.GOING_AWAY}:
        raise EngineError(f"the server closed the session with {socket.close_code}")


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


async def _refusal(http: aiohttp.ClientSession, order: ListenOrder, status: int) -> str:
    """Ask once more, for the error body that a WebSocket client does not get to see."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with http.get(order.address, params=order.query, headers=headers) as response:
        try:
            body = json.loads(await response.text())
            return f"the server answered {response.status}: {body['error']['message']}"
        except (ValueError, KeyError, TypeError):
            return f"the server answered {status}"


async def _speak(
    socket: aiohttp.ClientWebSocketResponse, path: Path | None, done: "asyncio.Future[None]"
) -> None:
    """Send a block each tenth of a second, and an empty message at the end."""
    loop = asyncio.get_running_loop()
    began_s, sent = loop.time(), 0
    try:
        async with aclosing(_blocks(path)) as blocks:
            async for block in blocks:
                await asyncio.sleep(began_s + sent * BLOCK_S - loop.time())
                await socket.send_bytes(block)
                sent += 1
        await socket.send_bytes(b"")
    except InvalidRequest as error:
        done.set_exception(error)
        await socket.close()
    except ConnectionError:
        pass  # whoever reads the socket learns why


async def _blocks(path: Path | None) -> AsyncGenerator[bytes, None]:
    """Read in a thread of its own, which a Ctrl-C need not wait for: a pipe may say nothing."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | InvalidRequest | None] = asyncio.Queue(READ_AHEAD)

    def put(item: bytes | InvalidRequest | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

    def read() -> None:
        try:
            for block in read_blocks(path):
                put(block)
        except (OSError, FFmpegError) as error:
            put(InvalidRequest(f"{path or 'standard input'}: {error}"))
        else:
            put(None)

    threading.Thread(target=read, name="audio", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, InvalidRequest):
            raise item
        yield item


def read_blocks(path: Path | None) -> Iterator[bytes]:
    """Yield 16 kHz mono s16le in blocks of `BLOCK_S`; the last one may be shorter. Blocking.

    What does not begin as a WAV file does is that already.
    """
    with cast(BufferedReader, sys.stdin.buffer) if path is None else path.open("rb") as file:
        is_wav = file.peek(4)[:4] == b"RIFF"
        rest = b""
        for piece in _decoded(file) if is_wav else iter(lambda: file.read(BLOCK_BYTES), b""):
            rest += piece
            while len(rest) >= BLOCK_BYTES:
                yield rest[:BLOCK_BYTES]
                rest = rest[BLOCK_BYTES:]
        if rest:
            yield rest


def _decoded(file: BufferedReader) -> Iterator[bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(file, mode="r", format="wav") as container:
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                yield part.to_ndarray().tobytes()
        for part in resampler.resample(None):
            yield part.to_ndarray().tobytes()


class JsonLines:
    """Prints what the server sends as it is, a line each."""

    def write(self, message: str) -> None:
        """Print a message."""
        print(message, flush=True)

    def end(self) -> None:
        """Do nothing: every line is complete."""


class Paper:
    """Prints confirmed text as it grows; at a terminal what may still change stands faint behind.

    Lines are broken here, so that it is known what there is room for, and nothing scrolls away
    that is to be replaced.
    """

    def __init__(self, width: int | None) -> None:
        """`width` is the terminal's; None: it is none."""
        self._is_terminal, self._width = width is not None, width or 0
        self._shown, self._column = "", 0

    def write(self, message: str) -> None:
        """Print what is new in a message."""
        body = json.loads(message)
        text = body["text"]
        new, self._shown = text[len(self._shown) :], text
        out = CLEAR_LINE if self._is_terminal else ""
        for word in new.split():
            out += self._placed(word)
        if self._is_terminal:
            out += self._faint(body.get("tentative", ""))
        print(out, end="", flush=True)

    def end(self) -> None:
        """End the last line."""
        print(CLEAR_LINE if self._is_terminal else "", flush=True)

    def _placed(self, word: str) -> str:
        size = cell_len(word)
        if not self._column:
            self._column = size
            return word
        if self._is_terminal and self._column + 1 + size >= self._width:
            self._column = size
            return f"\n{word}"
        self._column += 1 + size
        return f" {word}"

    def _faint(self, text: str) -> str:
        """Return as many words as fit, and the way back to where they begin."""
        tail = f" {text}" if self._column and text else text
        while tail and self._column + cell_len(tail) >= self._width:
            tail = tail.rpartition(" ")[0]
        if not tail:
            return ""
        return f"{FADED}{tail}{PLAIN}\x1b[{cell_len(tail)}D"
