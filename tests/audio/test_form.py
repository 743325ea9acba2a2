"""Forms: what reaches the disk is what was sent, however it was cut."""

import asyncio
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.audio_client import BOUNDARY, form, part
from whisper_router.audio.form import WRITE_BYTES, Form, UploadLimits, check_extension
from whisper_router.audio.media import EXTENSIONS
from whisper_router.audio.multipart import MultipartParser
from whisper_router.audio.spool import Spool
from whisper_router.errors import UnsupportedFormat

LIMITS = UploadLimits(max_upload_bytes=1 << 30, idle_timeout_s=1, extensions=EXTENSIONS)
ALMOST = [b"\r\n--AaB03", b"\r\n--AaB03xx", b"\r", b"\n", b"\r\n-", b"AaB03x--", bytes(3000)]


@given(
    content=st.lists(st.sampled_from(ALMOST) | st.binary(max_size=50), max_size=30).map(b"".join),
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=4),
    repeats=st.sampled_from([1, 1, 1, 300]),
)
def test_the_bytes_on_disk_are_the_bytes_sent_at_any_chunking(content, sizes, repeats):
    """Also when they look like the boundary, and when they are more than one write."""
    data = content * repeats
    # RFC 2046 5.1.1: an encoder chooses a boundary that begins no line of the content.
    assume(not re.search(rb"\r\n--AaB03x(--|[ \t]*\r\n)", b"\r\n" + data + b"\r\n"))
    body = form(part("model", b"m"), part("file", data, filename="a.wav"))
    assert asyncio.run(stored(body, sizes)) == data


async def stored(body: bytes, sizes: list[int]) -> bytes:
    """What a form's file holds, and that nothing is left after `discard`."""
    with tempfile.TemporaryDirectory() as root, Spool.create(Path(root)) as spool:
        collected, parser = Form(spool, LIMITS), MultipartParser(BOUNDARY.encode())
        position = turn = 0
        while position < len(body):
            size = sizes[turn % len(sizes)] * (1 if len(body) < WRITE_BYTES else 100)
            for event in parser.feed(body[position : position + size]):
                await collected.take(event)
            position, turn = position + size, turn + 1
        upload = collected.upload()
        assert upload.file is not None
        data = upload.file.read_bytes()
        assert upload.size_bytes == len(data)
        await collected.discard()
        assert not upload.file.exists()
        return data


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_every_extension_of_the_list_is_accepted(extension):
    """In any case."""
    check_extension(f"a.{extension.upper()}", None, EXTENSIONS)


@pytest.mark.parametrize("name", ["a.txt", "a.wav.exe", "a.b.TXT", "..txt"])
def test_other_extensions_are_refused(name):
    """The last one counts."""
    with pytest.raises(UnsupportedFormat, match=r"audio\.extensions"):
        check_extension(name, "audio/wav", EXTENSIONS)


@pytest.mark.parametrize("name", ["memo 12.30", "v1.2", "talk.", "2026.11.20", "...", None])
def test_a_name_without_an_extension_is_accepted(name):
    """A number after a dot is part of the name."""
    check_extension(name, "application/octet-stream", EXTENSIONS)


def test_the_list_is_a_setting():
    """Whatever is on it, in the message too."""
    check_extension("a.xyz", None, frozenset({"xyz"}))
    check_extension("a.xyz", None, None)
    with pytest.raises(UnsupportedFormat, match=r"\['xyz'\]"):
        check_extension("a.wav", None, frozenset({"xyz"}))
