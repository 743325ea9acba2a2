"""The multipart parser: any chunking gives the same parts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.multipart import (
    MAX_PART_HEADERS_BYTES,
    MAX_PREAMBLE_BYTES,
    MultipartError,
    MultipartParser,
    PartBegin,
    PartData,
    PartEnd,
)

BOUNDARY = b"AaB03x"
ALMOST = [b"\r\n--AaB03", b"\r\n--", b"\r", b"\n", b"--AaB03x", b"\r\n--AaB03xy", b"\r\n--AaB03x-z"]
contents = st.lists(st.sampled_from([*ALMOST, b"audio", b"\x00"]) | st.binary(max_size=40)).map(
    b"".join
)


def parse(body: bytes, sizes: list[int] | None = None):
    """All parts of `body`, fed in pieces of the given sizes, over and over."""
    parser = MultipartParser(BOUNDARY)
    parts, position, turn = [], 0, 0
    sizes = sizes or [len(body) or 1]
    while position < len(body):
        size = sizes[turn % len(sizes)]
        for event in parser.feed(body[position : position + size]):
            if isinstance(event, PartBegin):
                parts.append([dict(event.headers), b"", False])
            elif isinstance(event, PartData):
                assert event.data
                parts[-1][1] += event.data
            else:
                assert isinstance(event, PartEnd)
                parts[-1][2] = True
        position += size
        turn += 1
    parser.finish()
    assert all(ended for _headers, _content, ended in parts)
    return [(headers, content) for headers, content, _ended in parts]


def encode(parts: list[bytes], *, preamble: bytes = b"", padding: bytes = b"") -> bytes:
    """A body whose parts are named 0, 1, 2 ..."""
    body = preamble + b"\r\n" if preamble else b""
    for index, content in enumerate(parts):
        body += b"--" + BOUNDARY + padding + b"\r\nName: %d\r\n\r\n" % index + content + b"\r\n"
    return body + b"--" + BOUNDARY + b"--\r\n"


def holds_a_delimiter(content: bytes) -> bool:
    """Whether the content really has a delimiter line in it, which no encoder may produce."""
    return bool(re.search(rb"\r\n--AaB03x(--|[ \t]*\r\n)", b"\r\n" + content + b"\r\n"))


@given(
    parts=st.lists(contents.filter(lambda content: not holds_a_delimiter(content)), max_size=4),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    preamble=st.sampled_from([b"", b"This is a preamble.", b"--AaB03"]),
    padding=st.sampled_from([b"", b" ", b"\t  "]),
    epilogue=st.binary(max_size=30),
)
def test_any_chunking_gives_the_bytes_that_were_sent(parts, sizes, preamble, padding, epilogue):
    """Boundary-like bytes in the content, cut anywhere, come out as they went in."""
    body = encode(parts, preamble=preamble, padding=padding) + epilogue
    found = parse(body, sizes)
    assert [content for _headers, content in found] == parts
    assert [headers["name"] for headers, _content in found] == [str(i) for i in range(len(parts))]


def outcome(body: bytes, sizes: list[int]):
    """The parts, or that there is an error."""
    try:
        return parse(body, sizes)
    except MultipartError:
        return "not multipart"


@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 50), min_size=1))
def test_no_bytes_break_the_parser(body, sizes):
    """Garbage ends in MultipartError or in parts, the same ones however it is cut."""
    whole = b"--" + BOUNDARY + b"\r\n" + body
    assert outcome(whole, sizes) == outcome(whole, [len(whole)])


@given(cut=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 50), min_size=1))
def test_a_body_cut_anywhere_before_its_end_is_an_error(cut, sizes):
    """Nothing but the closing boundary completes a body."""
    body = encode([b"first", b"second" * 20])
    end = body.rindex(b"--\r\n") + 2
    with pytest.raises(MultipartError, match=r"ends before the closing boundary|does not occur"):
        parse(body[: cut % end], sizes)


def test_a_part_without_content_or_without_headers_is_a_part():
    """RFC 2046: the blank line is all that both need."""
    assert parse(b"--AaB03x\r\nA: b\r\n\r\n\r\n--AaB03x\r\n\r\nbody\r\n--AaB03x--") == [
        ({"a": "b"}, b""),
        ({}, b"body"),
    ]
    assert parse(b"--AaB03x\r\nA: b\r\n\r\n--AaB03x--") == [({"a": "b"}, b"")]
    assert parse(b"--AaB03x--") == []


def test_headers_are_folded_and_case_does_not_matter():
    """RFC 5322 folding; names in lower case; white space around values gone."""
    [(headers, _)] = parse(
        b"--AaB03x\r\nCONTENT-type:  text/plain;\r\n  charset=x \r\n\r\n\r\n--AaB03x--"
    )
    assert headers == {"content-type": "text/plain;  charset=x"}


def test_a_wrong_boundary_is_noticed_early():
    """Not only after a gigabyte was read."""
    parser = MultipartParser(BOUNDARY)
    with pytest.raises(MultipartError, match="does not begin it"):
        for _ in range(MAX_PREAMBLE_BYTES // 1000 + 2):
            assert list(parser.feed(b"x" * 1000)) == []


@pytest.mark.parametrize("size", [10_000, 100])
def test_endless_headers_are_refused(size):
    """However they come, a part's headers are bounded."""
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(b"--AaB03x\r\n"))
    with pytest.raises(MultipartError, match="16384 bytes of headers"):
        for _ in range(MAX_PART_HEADERS_BYTES // size + 2):
            list(parser.feed(b"a" * size))


def test_a_header_without_a_name_is_refused():
    """It is not guessed what was meant."""
    with pytest.raises(MultipartError, match="header line without a name"):
        parse(b"--AaB03x\r\nnonsense\r\n\r\n\r\n--AaB03x--")


def test_the_parser_holds_next_to_nothing():
    """A megabyte goes in, a megabyte comes out at once, whatever it looks like."""
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(b"--AaB03x\r\nName: x\r\n\r\n"))
    for filler in (b"x", b"\r", b"\r\n--AaB03"):
        data = filler * (1_000_000 // len(filler))
        out = sum(len(event.data) for event in parser.feed(data) if isinstance(event, PartData))
        assert abs(out - len(data)) < 100
