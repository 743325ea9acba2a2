"""Audio from real servers on loopback, of which some behave badly."""

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp import web

from support.blocking import no_blocking_calls
from support.hosts import Names, abort, raw_host, web_host
from whisper_router.audio.fetch_url import FetchLimits, fetch
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.errors import (
    RouterError,
    StorageFull,
    UrlFetchFailed,
    UrlRefused,
    UrlTimeout,
    UrlTooLarge,
    UrlUnsupported,
)

LOCAL = Outbound(OutboundOptions(allow_private=True))
LIMITS = FetchLimits(max_bytes=4 << 20, timeout_s=20, idle_timeout_s=20)
SOUND = bytes(range(256)) * 8192  # 2 MiB
SECRET = "token=s3cret"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n"


@pytest.fixture(autouse=True)
def _never_block():
    with no_blocking_calls():
        yield


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "fetched"


def answering(body: bytes = SOUND, status: int = 200, **headers: str):
    """Return a handler that always answers so; `_` in a header's name stands for `-`."""

    async def handle(_request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=named)

    return handle


async def assert_fails(
    kind: type[RouterError],
    url: str,
    target: Path,
    limits: FetchLimits = LIMITS,
    match: str | None = None,
) -> None:
    """Fetch in vain; nothing is left, and the message tells the host but not the query."""
    with pytest.raises(kind, match=match) as failure:
        await fetch(LOCAL, f"{url}/a.wav?{SECRET}", target, limits)
    assert failure.value.envelope()["error"]["param"] == "url"
    assert "s3cret" not in str(failure.value)
    assert not target.exists()


@pytest.mark.both_loops
async def test_a_file_is_fetched_as_it_is(target: Path):
    """With the name and the type that the server gives it."""
    async with web_host(answering(Content_Type="audio/wav")) as host:
        fetched = await fetch(LOCAL, f"{host.url}/some/Talk%201.wav?{SECRET}", target, LIMITS)
    assert (fetched.name, fetched.content_type) == ("Talk 1.wav", "audio/wav")
    assert fetched.size_bytes == len(SOUND)
    assert target.read_bytes() == SOUND


async def test_an_empty_answer_is_an_empty_file(target: Path):
    """Whoever decodes it says what is wrong with it."""
    async with web_host(answering(b"", Content_Type="audio/wav")) as host:
        assert (await fetch(LOCAL, host.url, target, LIMITS)).size_bytes == 0
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    ("disposition", "path", "name"),
    [
        ("", "/a/b.mp3", "b.mp3"),
        ("", "/", ""),
        ("", "/..%2f..%2fetc%2fb.mp3", "b.mp3"),
        ('attachment; filename="talk.ogg"', "/x", "talk.ogg"),
        ('attachment; filename="../../etc/talk.ogg"', "/x", "talk.ogg"),
        ("attachment; filename*=UTF-8''gr%C3%BC%C3%9Fe.wav", "/x", "grüße.wav"),
        ("attachment", "/b.mp3", "b.mp3"),
        ("inline; filename=" + "a" * 300 + ".wav", "/x", "a" * 196 + ".wav"),
    ],
)
async def test_the_name_is_what_the_server_says_or_the_end_of_the_path(
    target: Path, disposition: str, path: str, name: str
):
    """Never with directories, and not too long."""
    handle = answering(b"x", Content_Type="audio/x", Content_Disposition=disposition)
    async with web_host(handle) as host:
        assert (await fetch(LOCAL, host.url + path, target, LIMITS)).name == name


@pytest.mark.parametrize(
    "kind",
    [
        "Audio/MPEG; x=1",
        "video/mp4",
        "application/octet-stream",
        "application/ogg",
        "binary/octet-stream",
        "",
    ],
)
async def test_sound_video_and_unknown_types_are_taken(target: Path, kind: str):
    """What is in it is for the decoder to say."""

    async def answer(_reader, writer):
        typed = f"Content-Type: {kind}\r\n".encode() if kind else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + typed + b"Content-Length: 1\r\n\r\nx")
        await writer.drain()

    async with raw_host(answer) as host:
        assert (await fetch(LOCAL, host.url, target, LIMITS)).content_type == (kind or None)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "image/png"])
async def test_other_types_are_refused_by_their_name(target: Path, kind: str):
    """A page in the place of a file is the usual mistake."""
    async with web_host(answering(b"<html>", Content_Type=kind)) as host:
        await assert_fails(UrlUnsupported, host.url, target, match=f"'{kind.partition(';')[0]}'")


async def test_an_extension_counts_where_it_is_that_of_a_file(target: Path):
    """A program's path says nothing; a name that is given, and a path of unknown content, do."""
    name = 'attachment; filename="a.exe"'
    async with web_host(answering(b"x", Content_Type="audio/wav")) as host:
        await fetch(LOCAL, f"{host.url}/download.php", target, LIMITS)
    target.unlink()
    async with web_host(answering(b"x", Content_Type="application/octet-stream")) as host:
        with pytest.raises(UrlUnsupported, match="'exe'") as failure:
            await fetch(LOCAL, f"{host.url}/setup.exe", target, LIMITS)
    assert failure.value.param == "url"
    handle = answering(b"x", Content_Type="audio/wav", Content_Disposition=name)
    async with web_host(handle) as host:
        await assert_fails(UrlUnsupported, host.url, target, match="'exe'")


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_only_status_200_is_an_answer(target: Path, status: int):
    """The client hears which one came."""
    handle = answering(b"", status, Content_Type="audio/wav")
    async with web_host(handle) as host:
        await assert_fails(UrlFetchFailed, host.url, target, match=f"127.0.0.1.*{status}")


def hopping(hops: int, last: str = "/last.wav"):
    """Return a handler that redirects so often, in all the ways there are."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        number = len(seen)
        if number > hops:
            return web.Response(body=SOUND, content_type="audio/wav")
        where = last if number == hops else f"/hop/{number}?{SECRET}"
        if number % 2 and where.startswith("/"):
            where = str(request.url.origin()) + where
        status = (301, 302, 303, 307, 308)[number % 5]
        return web.Response(status=status, headers={"Location": where, "Set-Cookie": "a=b"})

    return handle, seen


async def test_redirects_are_followed_up_to_the_limit(target: Path):
    """Five by default; nothing of the first host goes to the next one."""
    handle, seen = hopping(5)
    async with web_host(handle) as host:
        assert (await fetch(LOCAL, host.url, target, LIMITS)).name == "last.wav"
    assert [request.path for request in seen[1:]] == [f"/hop/{n}" for n in (1, 2, 3, 4)] + [
        "/last.wav"
    ]
    assert not any("Cookie" in request.headers for request in seen)
    assert not any("Referer" in request.headers for request in seen)


async def test_a_circle_of_redirects_ends(target: Path):
    """At the limit, like a chain that is only too long."""
    handle, seen = hopping(1000)
    async with web_host(handle) as host:
        await assert_fails(UrlFetchFailed, host.url, target, match="more than 5 times")
    assert len(seen) == 6


@pytest.mark.parametrize(
    "where",
    [
        "file:///etc/passwd",
        "http://a@127.0.0.1/",
        "http://0x7f.1/",
        "//169.254.169.254/",
        "http://[/",
        "http://inside.test:{port}/",
        "http://localhost:{port}/",
        "http://0.0.0.0:{port}/",
    ],
)
@pytest.mark.parametrize("hops", [1, 3])
async def test_a_redirect_to_a_forbidden_address_is_refused(target: Path, where: str, hops: int):
    """Every hop is looked at like the first one; both names here are the same machine."""
    reached = []

    async def inside(request: web.Request) -> web.Response:
        reached.append(request)
        return web.Response(body=b"x", content_type="audio/wav")

    names = Names({"outside.test": [["127.0.0.1"]], "inside.test": [["127.0.0.1"]]})
    outbound = Outbound(OutboundOptions(allowed_hosts=["outside.test"]), names)
    async with web_host(inside) as hidden:
        last = where.replace("{port}", str(hidden.port))

        async def handle(request: web.Request) -> web.Response:
            number = int(request.match_info["path"] or 1)
            onwards = last if number == hops else f"/{number + 1}"
            return web.Response(status=302, headers={"Location": onwards})

        async with web_host(handle) as host:
            with pytest.raises(UrlRefused):
                await fetch(outbound, f"http://outside.test:{host.port}/", target, LIMITS)
    assert not reached
    assert not target.exists()


async def test_a_redirect_to_nowhere_fails(target: Path):
    """It says so."""
    async with web_host(answering(b"", 302)) as host:
        await assert_fails(UrlFetchFailed, host.url, target, match="without saying where")


async def silent(_reader, _writer):
    await asyncio.Event().wait()


async def stalling(_reader, writer):
    writer.write(OK + b"Content-Length: 100\r\n\r\nabc")
    await asyncio.Event().wait()


async def trickling(_reader, writer):
    writer.write(OK + b"\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def slow_head(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("answer", [silent, stalling])
async def test_a_host_that_pauses_is_given_up(target: Path, answer):
    """Before and within its answer."""
    limits = FetchLimits(idle_timeout_s=0.1)
    async with raw_host(answer) as host:
        await assert_fails(UrlTimeout, host.url, target, limits, match="127.0.0.1.* 0.1 s")


@pytest.mark.parametrize("answer", [trickling, slow_head])
async def test_a_host_that_never_pauses_is_given_up_as_well(target: Path, answer):
    """All of it has a limit."""
    limits = FetchLimits(idle_timeout_s=20, timeout_s=0.3)
    async with raw_host(answer) as host:
        await assert_fails(UrlTimeout, host.url, target, limits, match="longer than 0.3 s")


async def test_what_is_announced_as_too_large_is_not_read(target: Path):
    """Not a byte of it need be sent."""

    async def answer(_reader, writer):
        writer.write(OK + b"Content-Length: 4194305\r\n\r\n")
        await asyncio.Event().wait()

    async with raw_host(answer) as host:
        await assert_fails(UrlTooLarge, host.url, target, match="limit of 4194304 bytes")


async def test_what_turns_out_too_large_is_not_read_on(target: Path):
    """An endless answer ends here, and its connection."""
    left = asyncio.Event()

    async def answer(_reader, writer):
        writer.write(OK + b"\r\n")
        try:
            while True:
                writer.write(SOUND)
                await writer.drain()
        finally:
            left.set()

    async with raw_host(answer) as host:
        await assert_fails(UrlTooLarge, host.url, target)
        async with asyncio.timeout(15):
            await left.wait()


@pytest.mark.parametrize("sent", ["whole", "endless"])
async def test_the_limit_counts_what_a_compression_hides(target: Path, sent: str):
    """64 MiB of nothing are 64 KiB on the way."""
    bomb = await asyncio.to_thread(gzip.compress, bytes(64 << 20))
    headers = {"Content_Encoding": "gzip", "Content_Type": "audio/wav"}

    async def answer(_reader, writer):
        writer.write(OK + b"Content-Encoding: gzip\r\n\r\n" + bomb)
        await writer.drain()
        await asyncio.Event().wait()

    async with (
        web_host(answering(bomb, **headers)) if sent == "whole" else raw_host(answer) as host
    ):
        await assert_fails(UrlTooLarge, host.url, target)


async def test_a_compressed_answer_is_kept_as_it_was_before(target: Path):
    """Some servers compress everything, though nobody asked for it."""
    squeezed = await asyncio.to_thread(gzip.compress, SOUND)
    handle = answering(squeezed, Content_Encoding="gzip", Content_Type="audio/wav")
    async with web_host(handle) as host:
        assert (await fetch(LOCAL, host.url, target, LIMITS)).size_bytes == len(SOUND)
    assert target.read_bytes() == SOUND


async def cut_short(_reader, writer):
    writer.write(OK + b"Content-Length: 100\r\n\r\nabc")
    await writer.drain()


async def cut_in_a_chunk(_reader, writer):
    writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab")
    await writer.drain()


async def reset(_reader, writer):
    writer.write(OK + b"Content-Length: 100\r\n\r\nabc")
    await writer.drain()
    abort(writer)


async def hang_up(_reader, _writer):
    pass


async def speak_something_else(_reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()


async def break_the_gzip(_reader, writer):
    writer.write(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
    await writer.drain()


@pytest.mark.both_loops
@pytest.mark.parametrize(
    "answer",
    [cut_short, cut_in_a_chunk, reset, hang_up, speak_something_else, break_the_gzip],
)
async def test_an_answer_that_is_not_whole_is_no_audio(target: Path, answer):
    """Half a file would be taken for a short one."""
    async with raw_host(answer) as host:
        await assert_fails(UrlFetchFailed, host.url, target, match="'127.0.0.1': ")


async def test_a_name_that_nobody_knows_fails(target: Path):
    """With the host in the message."""
    outbound = Outbound(OutboundOptions(), Names({}))
    with pytest.raises(UrlFetchFailed, match=r"'nobody\.test': the name"):
        await fetch(outbound, f"http://nobody.test/?{SECRET}", target, LIMITS)


@pytest.mark.both_loops
async def test_who_is_cancelled_leaves_neither_a_file_nor_a_connection(target: Path):
    """Half of it is on disk by then."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def answer(reader, writer):
        writer.write(OK + b"Content-Length: 4000000\r\n\r\n" + SOUND)
        await writer.drain()
        begun.set()
        try:
            await reader.read()
        finally:
            left.set()

    async with raw_host(answer) as host, asyncio.timeout(15), asyncio.TaskGroup() as group:
        task = group.create_task(fetch(LOCAL, host.url, target, LIMITS))
        await begun.wait()
        while not await asyncio.to_thread(target.exists):  # noqa: ASYNC110 - it is the disk
            await asyncio.sleep(0.005)
        task.cancel()
        await left.wait()
    assert task.cancelled()
    assert not target.exists()


async def test_a_full_disk_is_an_error_of_its_own(target: Path):
    """The file is the device that is always full."""
    target.symlink_to("/dev/full")
    async with web_host(answering(Content_Type="audio/wav")) as host:
        with pytest.raises(StorageFull):
            await fetch(LOCAL, host.url, target, LIMITS)
    assert not target.is_symlink()
