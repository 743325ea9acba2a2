"""Uploads over real sockets."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from support.audio_client import (
    MIB,
    big_upload,
    chunked,
    exchange,
    form,
    head,
    part,
    post,
    server_process,
)
from support.audio_upload_server import UploadServer, running
from support.own_time import pass_s
from whisper_router.audio.media import EXTENSIONS
from whisper_router.audio.spool import Spool
from whisper_router.audio.upload import UploadLimits, read_body
from whisper_router.errors import UploadTimeout, UploadTooLarge

LIMIT = 2 * MIB
WAIT_S = 20


class FullSpool(Spool):
    """A spool on a disk without room: its files are the device that is always full."""

    def new_path(self, suffix: str = "") -> Path:
        path = super().new_path(suffix)
        path.symlink_to("/dev/full")
        return path


class SmallSpool(Spool):
    """A spool that has little room left."""

    def free_bytes(self) -> int:
        return MIB


@pytest.fixture
def start(tmp_path):
    """Start a server with given limits; `spool` may be another kind of spool."""
    spools = contextlib.ExitStack()

    def start(kind: type[Spool] = Spool, **limits):
        spool = spools.enter_context(kind.create(tmp_path / "spool"))
        chosen = {
            "max_upload_bytes": LIMIT,
            "idle_timeout_s": 20.0,
            "extensions": EXTENSIONS,
            **limits,
        }
        return running(UploadServer(spool=spool, limits=UploadLimits(**chosen)))

    with spools:
        yield start


def files_in(server: UploadServer) -> list[Path]:
    return list(server.spool.directory.iterdir())


@pytest.mark.both_loops
async def test_a_form_of_a_real_client_arrives_and_leaves_nothing(start):
    """Fields in their order, the file's bytes, its name and type; then the disk is clean."""
    data = bytes(range(256)) * 5000
    body = aiohttp.FormData(quote_fields=False)
    body.add_field("model", "whisper-1")
    body.add_field("file", io.BytesIO(data), filename="grüße.wav", content_type="audio/wav")
    body.add_field("timestamp_granularities[]", "word")
    body.add_field("timestamp_granularities[]", "segment")
    async with start() as server, aiohttp.ClientSession() as http:
        async with http.post(f"http://127.0.0.1:{server.port}/", data=body) as answer:
            got = await answer.json()
            assert answer.status == 200, got
        assert files_in(server) == []
    assert got["fields"] == [
        ["model", "whisper-1"],
        ["timestamp_granularities[]", "word"],
        ["timestamp_granularities[]", "segment"],
    ]
    assert (got["filename"], got["content_type"]) == ("grüße.wav", "audio/wav")
    assert (got["size"], got["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_parts_come_in_any_order(start, order):
    """Python sends the file last, JavaScript first."""
    parts = [
        part("model", b"m"),
        part("file", b"RIFF", filename="a.wav"),
        part("language", b"de"),
    ]
    async with start() as server:
        status, got = await post(server.port, form(*(parts[index] for index in order)))
    assert status == 200
    assert sorted(got["fields"]) == [["language", "de"], ["model", "m"]]
    assert got["size"] == 4


async def test_boundaries_in_the_file_cut_anywhere_reach_the_disk_as_they_are(start):
    """The file's bytes are the file's, also in pieces of 7 bytes."""
    data = (b"\r\n--AaB03xy\r\n--AaB03\r\n\r\r\n--" + bytes(range(256))) * 20
    body = form(part("model", b"m"), part("file", data, filename="a.wav"))
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    async with start() as server:
        status, got = await exchange(
            server.port, [head("Transfer-Encoding: chunked"), *chunked(pieces)]
        )
    assert (status, got["sha256"]) == (200, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "filename", [None, "upload", "blob", "unknown_file", "a.WAV", "a.b.mp3", "trailing."]
)
async def test_accepted_names(start, filename):
    """An accepted extension in any case, or no extension at all."""
    async with start() as server:
        status, got = await post(server.port, form(part("file", b"x", filename=filename)))
    assert (status, got["filename"]) == (200, filename)


@pytest.mark.parametrize("content_type", ["audio/pcm", "audio/L16; rate=16000", "AUDIO/PCM"])
async def test_raw_audio_may_have_any_name(start, content_type):
    """`speech.raw` is no extension of the list, its type says what it is."""
    audio = part("file", b"x", f"Content-Type: {content_type}", filename="speech.raw")
    async with start() as server:
        status, got = await post(server.port, form(audio))
    assert (status, got["content_type"]) == (200, content_type)


async def test_a_refused_extension_is_refused_before_anything_is_written(start):
    """400, the list of what is accepted and where it is set."""
    body = form(part("file", b"x" * MIB, filename="C:\\docs\\notes.TXT"))
    async with start() as server:
        status, got = await post(server.port, body)
        assert server.files_at_error == 0
    assert status == 400
    error = got["error"]
    assert (error["code"], error["param"]) == ("unsupported_format", "file")
    assert "'txt'" in error["message"]
    assert "audio.extensions" in error["message"]
    assert all(f"'{extension}'" in error["message"] for extension in EXTENSIONS)


async def test_an_announced_length_over_the_limit_is_refused_and_drained(start):
    """413 before reading; the client can send all of it and still read the answer."""
    body = form(part("file", bytes(8 * MIB), filename="a.wav"))
    async with start() as server:
        status, got = await post(server.port, body)
    assert (status, got["drained"]) == (413, True)
    assert got["error"]["type"] == "server_error"
    assert f"({LIMIT}) exceeded ({len(body)} bytes announced)" in got["error"]["message"]
    assert "'server.max_upload_bytes'" in got["error"]["message"]


async def test_a_chunked_body_over_the_limit_is_refused_while_reading(start):
    """Without Content-Length the limit is enforced as the bytes come."""
    async with start() as server:
        status, got = await exchange(server.port, big_upload(8))
        assert server.files_at_error == 0
    assert (status, got["drained"]) == (413, True)
    assert f"({LIMIT}) exceeded" in got["error"]["message"]


async def test_a_body_of_exactly_the_limit_is_accepted(start):
    """The limit itself is allowed, one byte more is not."""
    body = form(part("file", bytes(1000), filename="a.wav"))
    for limit, expected in ((len(body), 200), (len(body) - 1, 413)):
        async with start(max_upload_bytes=limit) as server:
            status, _got = await post(server.port, body)
            assert status == expected


async def test_fields_have_a_limit_of_their_own(start):
    """Text is held in memory, so it may not be as large as a file."""
    many = form(*(part("prompt", b"") for _ in range(1000)))
    large = form(part("prompt", b"x" * 20_000))
    async with start(max_field_bytes=10_000) as server:
        for body in (many, large):
            status, got = await post(server.port, body)
            assert status == 413
            assert "10000 bytes" in got["error"]["message"]


async def test_a_client_that_stalls_is_given_up(start):
    """408 after the idle time; what was written is gone."""
    body = form(part("file", bytes(MIB), filename="a.wav"))
    async with start(idle_timeout_s=0.2) as server:
        server.drain_timeout_s = 0.1
        async with asyncio.timeout(WAIT_S):
            status, got = await exchange(
                server.port, [head(f"Content-Length: {len(body)}"), body[:-1]]
            )
        assert server.files_at_error == 0
    assert (status, got["error"]["code"]) == (408, "upload_timeout")


async def test_a_client_that_trickles_is_told_and_forgotten(start, monkeypatch):
    """A byte now and then is no pause, but it is no upload either."""
    quick = SimpleNamespace(monotonic=lambda: 50 * time.monotonic())
    monkeypatch.setattr("whisper_router.audio.upload.time", quick)

    async def drip() -> AsyncIterator[bytes]:
        yield form(part("file", bytes(100), filename="a.wav"))[:-1]
        while True:
            await asyncio.sleep(0.01)  # the pace of the attack
            yield b"x"

    async with (
        start(idle_timeout_s=10, min_bytes_s=5000.0) as server,
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as http,
    ):
        server.drain_timeout_s = 0.1
        headers = {"Content-Type": "multipart/form-data; boundary=AaB03x"}
        url = f"http://127.0.0.1:{server.port}/"
        async with http.post(url, data=drip(), headers=headers) as answer:
            error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (408, "upload_timeout")
    assert "server.upload_min_bytes_s" in error["message"]


async def test_a_form_has_no_thousands_of_fields(start):
    parts = [part(f"field-{number}", b"") for number in range(513)]
    async with start() as server:
        body = form(*parts)
        status, got = await exchange(server.port, [head(f"Content-Length: {len(body)}"), body])
    assert (status, got["error"]["message"]) == (400, "The form has more than 512 fields.")


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("application/json", "Content-Type says 'application/json'"),
        ("multipart/mixed; boundary=AaB03x", "'multipart/mixed'"),
        ("", "says nothing"),
        ("multipart/form-data", "no valid multipart boundary"),
        ('multipart/form-data; boundary=""', "no valid multipart boundary"),
        (f"multipart/form-data; boundary={'x' * 71}", "no valid multipart boundary"),
        ("multipart/form-data; boundary=other", "does not occur"),
    ],
)
async def test_what_is_not_multipart_is_refused_with_the_reason(start, content_type, message):
    """400 with a sentence."""
    async with start() as server:
        status, got = await post(server.port, form(), content_type=content_type)
    assert status == 400
    assert message in got["error"]["message"]
    assert set(got["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (form(part("file", b"x"))[:-6], "ends before the closing boundary"),
        (b"--AaB03x\r\nContent-Disposition: form-data\r\n\r\n\r\n--AaB03x--", "no name"),
        (form(part("a", b"x", "nonsense")), "header line without a name"),
        (form(part("a", b"x", "X: " + "x" * 20_000)), "bytes of headers"),
        (form(part("a", b"x", "Content-Transfer-Encoding: uuencode")), "'uuencode'"),
        (b"", "does not occur"),
    ],
)
async def test_a_broken_body_is_refused_with_the_reason(start, body, message):
    """400 with what is wrong."""
    async with start() as server:
        status, got = await post(server.port, body)
        assert files_in(server) == []
    assert status == 400
    assert message in got["error"]["message"]


async def test_two_files_are_refused(start):
    """Nobody can say which one is meant."""
    body = form(part("file", b"1", filename="a.wav"), part("file", b"2", filename="b.wav"))
    async with start() as server:
        status, got = await post(server.port, body)
        assert files_in(server) == []
    assert (status, got["error"]["param"]) == (400, "file")


async def test_a_field_that_is_not_text_is_named(start):
    """Not a 500 for bad UTF-8."""
    async with start() as server:
        status, got = await post(server.port, form(part("prompt", b"\xff\xfe")))
    assert (status, got["error"]["param"]) == (400, "prompt")


async def test_other_files_are_ignored_and_text_files_are_fields(start):
    """`curl -F prompt=@prompt.txt` is a field; a picture is nobody's business."""
    body = form(
        part("cover", b"\xff" * 50_000, "Content-Type: image/png", filename="cover.png"),
        part("prompt", b"hello", "Content-Type: text/plain", filename="prompt.txt"),
        part("file", b"x", filename="a.wav"),
    )
    async with start(max_field_bytes=10_000) as server:
        status, got = await post(server.port, body)
    assert (status, got["fields"], got["size"]) == (200, [["prompt", "hello"]], 1)


async def test_charset_and_transfer_encodings_are_honoured(start):
    """RFC 7578 4.6 and 4.7."""
    data = bytes(range(256)) * 100
    body = form(
        part("_charset_", b"iso-8859-1"),
        part("prompt", "größe".encode("latin-1")),
        part("text", "größe".encode(), "Content-Type: text/plain; charset=utf-8"),
        part(
            "file",
            base64.encodebytes(data),
            "Content-Transfer-Encoding: base64",
            filename="a.wav",
        ),
    )
    async with start() as server:
        status, got = await post(server.port, body)
    assert (status, got["fields"]) == (200, [["prompt", "größe"], ["text", "größe"]])
    assert got["sha256"] == hashlib.sha256(data).hexdigest()


async def test_a_compressed_body_is_limited_by_what_comes_out(start):
    """A few kilobytes of gzip do not fill the disk."""
    body = gzip.compress(form(part("file", bytes(64 * MIB), filename="a.wav")))
    assert len(body) < LIMIT
    async with start() as server:
        request = [head(f"Content-Length: {len(body)}", "Content-Encoding: gzip"), body]
        status, _got = await exchange(server.port, request)
        assert server.files_at_error == 0
    assert status == 413


async def test_no_file_and_an_empty_file_differ(start):
    """The API layer says which one it was."""
    async with start() as server:
        _status, without = await post(server.port, form(part("model", b"m")))
        _status, empty = await post(server.port, form(part("file", b"", filename="a.wav")))
    assert without["sha256"] is None
    assert (empty["sha256"], empty["size"]) == (hashlib.sha256(b"").hexdigest(), 0)


async def test_a_full_disk_is_a_503_and_leaves_nothing(start):
    """ENOSPC in mid-upload."""
    async with start(FullSpool) as server:
        status, got = await post(server.port, form(part("file", bytes(MIB), filename="a.wav")))
        assert files_in(server) == []
    assert (status, got["error"]["code"]) == (503, "storage_full")


async def test_what_cannot_fit_is_refused_before_it_is_read(start):
    """A length over the free space needs no try."""
    async with start(SmallSpool) as server:
        status, got = await post(server.port, form(part("file", bytes(MIB), filename="a.wav")))
    assert (status, got["error"]["code"]) == (503, "storage_full")


@pytest.mark.both_loops
async def test_a_client_that_leaves_in_mid_upload_leaves_no_file(start):
    """The handler is cancelled, the file deleted."""
    async with start() as server, asyncio.timeout(WAIT_S):
        body = form(part("file", bytes(MIB), filename="a.wav"))
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head(f"Content-Length: {len(body)}") + body[: MIB * 3 // 4])
        await server.begun.wait()
        await writer.drain()
        writer.transport.abort()
        await server.ended.wait()
        assert files_in(server) == []


async def test_draining_is_bounded(start):
    """A client that never stops sending does not keep the server reading."""
    async with start(max_upload_bytes=1000, max_field_bytes=10) as server:
        status, got = await exchange(server.port, _stop_when_refused(server))
    assert (status, got["drained"]) == (413, False)


def _stop_when_refused(server: UploadServer):
    """More than the server is willing to drain, then nothing more."""
    size = 66 * MIB
    yield head(f"Content-Length: {2 * size}")
    yield from itertools.repeat(bytes(MIB), size // MIB)
    assert server.begun.is_set()


async def test_an_upload_does_not_go_through_memory(tmp_path):
    """64 MiB raise the server's peak by less than 24 MiB."""
    with server_process(tmp_path, limit_bytes=100 * MIB) as port:
        _status, small = await exchange(port, big_upload(1))
        status, large = await exchange(port, big_upload(64))
    assert (status, large["size"]) == (200, 64 * MIB)
    assert large["peak_bytes"] - small["peak_bytes"] < 24 * MIB


@pytest.mark.own_time
async def test_a_body_that_is_no_form_has_limits_too():
    """In size, and in how long its client may pause."""
    limits = UploadLimits(
        max_upload_bytes=LIMIT, idle_timeout_s=5, extensions=EXTENSIONS, max_field_bytes=10
    )
    came = []

    async def handle(request: web.Request) -> web.Response:
        try:
            came.append(await read_body(request, limits))
        except (UploadTimeout, UploadTooLarge) as error:
            came.append(type(error))
        return web.Response()

    async def waiting():
        yield b"x"
        while True:
            await asyncio.sleep(0.01)
            pass_s(1)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession() as http:
        for body in (b"x" * 10, b"x" * 11, waiting()):
            async with http.post(url, data=body):
                pass
    await runner.cleanup()
    assert came == [b"x" * 10, UploadTooLarge, UploadTimeout]
