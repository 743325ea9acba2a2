"""Hosts on loopback that answer as they are told to, and names for them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names(AbstractResolver):
    """Resolves names from a table; each look-up takes the next answer, the last one stays."""

    def __init__(self, table: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.table.get(host.lower())
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in found
        ]

    async def close(self) -> None:
        pass


@dataclass
class Host:
    """A server that counts its connections."""

    port: int
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw_host(answer: Answer) -> AsyncIterator[Host]:
    """Run a server that does with each connection what `answer` does, which gets the head read."""
    tasks = set[asyncio.Task]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        host.connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            await close(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host = Host(port=server.sockets[0].getsockname()[1])
    try:
        yield host
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def web_host(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]):
    """Run an aiohttp server whose every path is answered by `handle`; yield its port."""
    app = web.Application(client_max_size=1 << 26)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await handle(request)

    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Host(port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and return once it is; at once if nobody waits for what was written."""
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, asyncio.CancelledError):
        writer.transport.abort()


def abort(writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
