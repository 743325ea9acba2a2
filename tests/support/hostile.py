"""Clients that wish a server ill, as light as they can be: one process, plain sockets.

    python tests/support/hostile.py ATTACK HOST PORT COUNT KEY

KEY is a good one. It prints a line when the attack is under way, and how it went once stdin ends.
"""

import asyncio
import contextlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

KEYS_PER_S = 400
FLOODS_PER_S = 20
FLOOD_BYTES = 60_000
CONNECTIONS = 8
KNOWN = b"Host: h\r\nAuthorization: Bearer "


class Attack:
    """What the attackers share: where to, and what happened."""

    def __init__(self, host: str, port: int, count: int, key: str) -> None:
        self.host, self.port, self.count, self.key = host, port, count, key.encode()
        self.tally: Counter[str] = Counter()
        self.begun = asyncio.Event()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=4096)
        self.tally["connected"] += 1
        return reader, writer

    async def again(self, one: Callable[[int], Awaitable[None]], number: int) -> None:
        """Let one attacker begin anew whenever it was thrown out."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await one(number)
            self.tally["thrown_out"] += 1
            await asyncio.sleep(0.5)

    async def slowloris(self, number: int) -> None:
        """Send headers a line at a time, without an end."""
        await asyncio.sleep(number / self.count)
        reader, writer = await self.connect()
        try:
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n")
            while not reader.at_eof():
                await asyncio.sleep(1)
                writer.write(b"X-A: b\r\n")
                await writer.drain()
        finally:
            writer.close()

    async def idle(self, number: int) -> None:
        """Say nothing."""
        await asyncio.sleep(number / self.count)
        reader, writer = await self.connect()
        try:
            await reader.read(1)
        finally:
            writer.close()

    async def slow_reader(self, number: int) -> None:
        """Ask for much with a key that is good, and read none of it."""
        await asyncio.sleep(number / self.count)
        _, writer = await self.connect()
        writer.transport.pause_reading()
        try:
            asked = b"GET /openapi.json HTTP/1.1\r\n" + KNOWN + self.key + b"\r\n\r\n"
            writer.write(asked * 30)
            await asyncio.sleep(30)
        finally:
            writer.transport.abort()

    async def flood(self, number: int) -> None:
        """Send headers that are far too large."""
        await asyncio.sleep(number / FLOODS_PER_S)
        reader, writer = await self.connect()
        try:
            line = b"X-Flood: " + b"x" * 1000 + b"\r\n"
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n" + line * (FLOOD_BYTES // len(line)))
            self.tally[(await reader.read(12)).decode()] += 1
        finally:
            writer.close()
        await asyncio.sleep(CONNECTIONS / FLOODS_PER_S)

    async def wrong_keys(self, number: int) -> None:
        """Try keys, over one connection."""
        reader, writer = await self.connect()
        try:
            while self.tally["answered"] < self.count:
                self.tally["tried"] += 1
                key = f"wr-wrong-{self.tally['tried']}".encode()
                writer.write(b"GET /v1/models HTTP/1.1\r\n" + KNOWN + key + b"\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                self.tally[head[:12].decode()] += 1
                size = next(x for x in head.lower().split(b"\r\n") if x.startswith(b"content-len"))
                await reader.readexactly(int(size.split(b":")[1]))
                self.tally["answered"] += 1
                await asyncio.sleep(CONNECTIONS / KEYS_PER_S)
        finally:
            writer.close()
        del number
        await asyncio.Event().wait()


ATTACKS = ("slowloris", "idle", "slow_reader", "flood", "wrong_keys")


async def attack(kind: str, shared: Attack) -> None:
    """Go on until stdin ends."""
    crowd = CONNECTIONS if kind in {"flood", "wrong_keys"} else shared.count
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(shared.again(getattr(shared, kind), number))
            for number in range(crowd)
        ]
        await asyncio.sleep(1.5)
        print("under way", flush=True)
        await ended.wait()
        while kind == "wrong_keys" and shared.tally["answered"] < shared.count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # all of them were announced
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    state = Attack(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    asyncio.run(attack(sys.argv[1], state))
    print(json.dumps(state.tally), flush=True)
