"""Forms written for another server, read back by our own parser."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.multipart import MultipartParser, PartBegin, PartData
from whisper_router.audio.parts import PartInfo, header_parameters, part_info
from whisper_router.domain import Task
from whisper_router.engine_api import FormField, FormFile
from whisper_router_engines.upstream.multipart import Multipart


@dataclass
class Form:
    """A form that is all here."""

    fields: Sequence[tuple[str, str]]
    file: bytes
    filename: str | None = "speech.wav"
    task: Task = Task.TRANSCRIBE
    headers: Mapping[str, str] = field(default_factory=dict)

    async def complete(self) -> None:
        pass

    async def parts(self) -> AsyncGenerator[FormField | FormFile, None]:
        for name, value in self.fields:
            yield FormField(name=name, value=value)
        yield FormFile(
            filename=self.filename,
            content_type="audio/wav",
            size_bytes=len(self.file),
            data=self._data(),
        )

    async def _data(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(self.file), 7):
            yield self.file[at : at + 7]


def written(form: Form) -> tuple[Multipart, bytes, int]:
    """Return the writer, the body, and the length that was announced."""

    async def collect() -> tuple[Multipart, bytes, int]:
        writer = Multipart(form, model="big")
        length = await writer.length()
        return writer, b"".join([piece async for piece in writer.body()]), length

    return asyncio.run(collect())


def read_back(writer: Multipart, body: bytes) -> list[tuple[PartInfo, bytes]]:
    parser = MultipartParser(header_parameters(writer.content_type)["boundary"].encode())
    found: list[tuple[PartInfo, bytes]] = []
    for event in parser.feed(body):
        if isinstance(event, PartBegin):
            found.append((part_info(event.headers), b""))
        elif isinstance(event, PartData):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    parser.finish()
    return found


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="\\"), min_size=1)


@given(
    fields=st.lists(st.tuples(NAMES.filter(lambda name: name.strip() == name), TEXT), max_size=4),
    file=st.binary(max_size=300),
)
def test_what_is_written_is_what_is_read(fields, file):
    """Names with quotes, values with line breaks, any bytes; the length is the announced one."""
    writer, body, length = written(Form(fields, file))
    assert len(body) == length
    found = read_back(writer, body)
    expected = [("model", "big"), *((name, text) for name, text in fields if name != "model")]
    assert [(info.name, data.decode()) for info, data in found[:-1]] == expected
    info, data = found[-1]
    assert (info.name, info.filename, info.content_type, data) == (
        "file",
        "speech.wav",
        "audio/wav",
        file,
    )


def test_the_model_is_the_one_of_that_server_and_comes_first():
    """However often it was named, and wherever."""
    writer, body, _ = written(Form([("a", "1"), ("model", "x"), ("model", "y")], b"data"))
    found = read_back(writer, body)
    assert [(info.name, data) for info, data in found] == [
        ("model", b"big"),
        ("a", b"1"),
        ("file", b"data"),
    ]


def test_a_file_without_a_name_gets_one():
    """A part without a file name is a text field to others."""
    writer, body, _ = written(Form([], b"data", filename=None))
    assert read_back(writer, body)[-1][0].filename == "audio"
