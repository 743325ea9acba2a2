"""What a WebSocket's client sends, read ahead as far as may wait."""

import asyncio
from collections import deque

from aiohttp import WSMessage, WSMsgType, web

PING_S = 20.0
PONG_S = 20.0
"""How long a client that is listened to may be silent after a ping."""
MAX_WAITING_BYTES = 4 << 20
MESSAGE_BYTES = 256
"""What a message takes besides its content."""
GOODBYES = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


class Inbox:
    """Reads a socket made with `autoping=False` and without a heartbeat of its own.

    Audio that cannot be heard yet waits here, so that pings are answered and a goodbye is noticed
    meanwhile. Beyond that the client is not read, which holds it back; a client that is not read
    cannot answer a ping, so its silence is not taken for its end.
    """

    def __init__(
        self, socket: web.WebSocketResponse, *, ping_s: float = PING_S, pong_s: float = PONG_S
    ) -> None:
        self._socket, self._ping_s, self._pong_s = socket, ping_s, pong_s
        self._messages: deque[WSMessage] = deque()
        self._waiting_bytes = 0
        self._goodbye: WSMessage | None = None
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._heard = asyncio.Event()

    async def receive(self) -> WSMessage:
        """Return the next message with data, or the client's goodbye, which overtakes the rest."""
        while True:
            if self._goodbye is not None:
                return self._goodbye
            if self._messages:
                message = self._messages.popleft()
                self._waiting_bytes -= _size(message)
                self._room.set()
                return message
            self._changed.clear()
            await self._changed.wait()

    async def read(self) -> None:
        """Read until the client has said goodbye, or is gone."""
        while self._goodbye is None:
            while self._waiting_bytes > MAX_WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
            await self._take(await self._socket.receive())

    async def keep_alive(self) -> None:
        """Ping from time to time; who does not answer is taken for gone."""
        while True:
            await asyncio.sleep(self._ping_s)
            self._heard.clear()
            try:
                await self._socket.ping()
            except ConnectionError:
                return
            try:
                async with asyncio.timeout(self._pong_s):
                    await self._heard.wait()
            except TimeoutError:
                if self._waiting_bytes <= MAX_WAITING_BYTES:
                    self._take_leave(WSMessage(WSMsgType.CLOSED, None, None))
                    return

    async def _take(self, message: WSMessage) -> None:
        self._heard.set()
        if message.type is WSMsgType.PING:
            await self._answer(message)
        elif message.type in GOODBYES:
            self._take_leave(message)
        elif message.type is not WSMsgType.PONG:
            self._messages.append(message)
            self._waiting_bytes += _size(message)
            self._changed.set()

    async def _answer(self, ping: WSMessage) -> None:
        try:
            await self._socket.pong(ping.data)
        except ConnectionError:
            self._take_leave(WSMessage(WSMsgType.CLOSED, None, None))

    def _take_leave(self, message: WSMessage) -> None:
        self._goodbye = message
        self._messages.clear()
        self._changed.set()


def _size(message: WSMessage) -> int:
    """Return what a message that waits costs: an empty one is not free."""
    return len(message.data) + MESSAGE_BYTES
