"""Uploads that are sent on while they arrive, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from whisper_router.audio.media import EXTENSIONS
from whisper_router.audio.relayed import NotSentOn, RelayedUpload, relayed_upload
from whisper_router.audio.spool import Spool
from whisper_router.audio.upload import UploadLimits, incoming_upload
from whisper_router.domain import Task
from whisper_router.engine_api import FormField, FormFile
from whisper_router.errors import RouterError

WAIT_S = 20
HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}
Item = tuple[str, bytes]


def part(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    head = f"--b\r\nContent-Disposition: form-data; name={name}{shown}\r\n\r\n"
    return head.encode() + value + b"\r\n"


END = b"--b--\r\n"


@dataclass
class Relaying:
    """A server that gives each upload to `use`, and keeps what that returns or raises."""

    spool: Spool
    use: Callable
    url: str = ""
    result: "asyncio.Future" = field(default_factory=asyncio.Future)

    async def handle(self, request: web.Request) -> web.Response:
        limits = UploadLimits(
            max_upload_bytes=1 << 24, idle_timeout_s=WAIT_S, extensions=EXTENSIONS
        )
        try:
            async with (
                incoming_upload(request, self.spool, limits) as incoming,
                relayed_upload(incoming, task=Task.TRANSCRIBE, headers={}) as upload,
            ):
                self.result.set_result(await self.use(upload))
        except RouterError as error:
            self.result.set_exception(error)
        return web.Response()


@pytest.fixture
async def relaying(tmp_path):
    """Send a body of pieces to a server that reads it with `use`; return what that gave."""

    @asynccontextmanager
    async def serve(use: Callable) -> AsyncIterator[Relaying]:
        spool = await asyncio.to_thread(Spool.create, tmp_path / "spool")
        server = Relaying(spool, use)
        app = web.Application()
        app.router.add_post("/", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()
        assert list(spool.directory.iterdir()) == []
        await asyncio.to_thread(spool.close)

    async def send(use: Callable, body: AsyncIterator[bytes]) -> object:
        async with (
            asyncio.timeout(WAIT_S),
            serve(use) as server,
            aiohttp.ClientSession() as http,
        ):
            try:
                async with http.post(server.url, data=body, headers=HEADERS):
                    pass
            except aiohttp.ClientError:
                pass
            return await server.result

    return send


async def read(upload: RelayedUpload) -> list[Item]:
    """Return every part with its content."""
    found: list[Item] = []
    async for item in upload.parts():
        if isinstance(item, FormField):
            found.append((item.name, item.value.encode()))
        else:
            found.append(("file", b"".join([piece async for piece in item.data])))
    return found


async def pieces(*all_of_it: bytes) -> AsyncIterator[bytes]:
    for piece in all_of_it:
        yield piece


async def test_parts_come_in_their_order_and_as_often_as_they_are_asked_for(relaying):
    """A request that failed at one server is read again for another."""
    data = bytes(range(256)) * 2000

    async def twice(upload: RelayedUpload) -> list[list[Item]]:
        return [await read(upload), await read(upload)]

    body = part("model", b"m") + part("file", data, filename="a.wav") + part("language", b"de")
    first, second = await relaying(twice, pieces(body[:100], body[100:9000], body[9000:], END))
    assert first == [("model", b"m"), ("file", data), ("language", b"de")]
    assert sorted(second) == sorted(first)


async def test_a_part_can_be_read_before_the_next_has_come(relaying):
    """The client waits for it."""
    seen = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield part("model", b"m") + part("file", b"x" * 10, filename="a.wav")[:-2]
        yield b"y" * 200_000
        await seen.wait()
        yield b"z\r\n" + END

    async def use(upload: RelayedUpload) -> bytes:
        content = b""
        async for item in upload.parts():
            if isinstance(item, FormFile):
                assert item.size_bytes is None
                async for piece in item.data:
                    content += piece
                    if len(content) >= 100_000:
                        seen.set()
        return content

    assert await relaying(use, body()) == b"x" * 10 + b"y" * 200_000 + b"z"


async def test_a_complete_form_knows_its_file_s_size(relaying):
    """For servers that want to know before."""

    async def use(upload: RelayedUpload) -> list[int | None]:
        await upload.complete()
        return [part.size_bytes async for part in upload.parts() if isinstance(part, FormFile)]

    body = part("file", b"x" * 1234, filename="a.wav") + END
    assert await relaying(use, pieces(body)) == [1234]


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_an_empty_file_and_no_file_at_all_are_forms_too(relaying, content):
    """What is wrong with them the other server says."""
    body = part("file", content, filename="a.wav")
    assert await relaying(read, pieces(body, END)) == [("file", content)]
    assert await relaying(read, pieces(part("model", b"m"), END)) == [("model", b"m")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (part("file", b"x" * 1000, filename="a.wav"), "multipart body"),
        (part("model", b"m") + part("file", b"x", filename="a.exe") + END, "Invalid file format"),
        (part("file", b"x" * (1 << 25), filename="a.wav") + END, "limit"),
    ],
)
async def test_what_breaks_an_upload_is_told_to_who_reads_it(relaying, body, said):
    """However far it had come: cut short, of a wrong kind, too large."""
    with pytest.raises(RouterError, match=said):
        await relaying(read, pieces(body))


@pytest.mark.parametrize(
    "field", [("async", b"true"), ("async", b"maybe"), ("url", b"http://a/"), ("audio_url", b"a")]
)
async def test_what_is_for_this_server_is_not_sent_on(relaying, field):
    """Though it comes after the file; all of the upload is here then."""
    read_on = []

    async def use(upload: RelayedUpload) -> list[Item]:
        read_on.append(upload._incoming)
        return await read(upload)

    body = part("model", b"m") + part("file", b"x" * 100_000, filename="a.wav")
    rest = part(*field) + part("language", b"de") + END
    with pytest.raises(NotSentOn):
        await relaying(use, pieces(body, rest))
    assert ("language", "de") in read_on[0].form.fields
    assert read_on[0].form.file.is_whole
    assert (await read_on[0].complete()).size_bytes == 100_000


async def test_what_no_other_server_understands_is_left_out(relaying):
    """It means nothing here, either."""
    body = part("async", b"false") + part("url", b" ") + part("webhook", b"http://a/")
    assert await relaying(read, pieces(body + part("model", b"m"), END)) == [("model", b"m")]
