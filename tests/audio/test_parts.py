"""What part headers say."""

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.multipart import MultipartError
from whisper_router.audio.parts import decode_text, header_parameters, part_info, transfer_decoder


def disposed(text: str):
    return part_info({"content-disposition": f"form-data; {text}"})


@pytest.mark.parametrize(
    ("header", "name", "filename"),
    [
        ('name="file"; filename="a.wav"', "file", "a.wav"),
        ("name=file; filename=a.wav", "file", "a.wav"),
        ('filename="a.wav"; name="file"', "file", "a.wav"),
        ('NAME="file"; FileName="a.wav"', "file", "a.wav"),
        ('name="file"; filename="a\\"b\\".wav"', "file", 'a"b".wav'),
        ('name="file"; filename="a%22b.wav"', "file", 'a"b.wav'),
        ('name="file"; filename="100%25.wav"', "file", "100%25.wav"),
        ('name="file"; filename="a; name=b.wav"', "file", "a; name=b.wav"),
        ('name="file"; filename="C:\\music\\a.wav"', "file", "a.wav"),
        ('name="file"; filename="../../etc/passwd"', "file", "passwd"),
        ('name="file"; filename="größe.wav"', "file", "größe.wav"),
        ("name=\"file\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.wav", "file", "größe.wav"),
        ('name="file"; filename="x.mp3"; filename*=utf-8\'en\'%e2%82%ac.wav', "file", "€.wav"),
        ('name="file"; filename="x.mp3"; filename*=bogus\'\'y.wav', "file", "x.mp3"),
        ('name="file"; filename=""', "file", ""),
        ('name="timestamp_granularities[]"', "timestamp_granularities[]", None),
        ('name=""', "", None),
    ],
)
def test_content_disposition_is_read_as_clients_write_it(header, name, filename):
    """Quotes, escapes of browsers and of curl, DOS paths, RFC 5987."""
    info = disposed(header)
    assert (info.name, info.filename) == (name, filename)


@pytest.mark.parametrize("headers", [{}, {"content-disposition": 'form-data; filename="a.wav"'}])
def test_a_part_without_a_name_is_refused(headers):
    """RFC 7578 4.2: each part must have one."""
    with pytest.raises(MultipartError, match="no name"):
        part_info(headers)


def test_quoted_boundaries_keep_their_characters():
    """A boundary may hold what only quotes allow."""
    header = 'multipart/form-data; charset=utf-8; boundary="a;b=c (d)"'
    assert header_parameters(header)["boundary"] == "a;b=c (d)"


def test_text_is_utf8_unless_it_says_otherwise():
    """RFC 7578 5.1.2."""
    assert decode_text("größe".encode(), None) == "größe"
    assert decode_text("größe".encode("latin-1"), "ISO-8859-1") == "größe"
    assert disposed('name="a"').charset is None
    info = part_info(
        {"content-disposition": "form-data; name=a", "content-type": "text/plain; charset=latin1"}
    )
    assert info.charset == "latin1"
    for data, charset in ((b"\xff", None), (b"abc", "utf-7"), (b"abc", "rot13")):
        with pytest.raises(ValueError, match=r"codec|unknown charset"):
            decode_text(data, charset)


@given(
    data=st.binary(max_size=500),
    size=st.integers(1, 100),
    encoding=st.sampled_from(["binary", "7bit", "8bit", "base64", "quoted-printable"]),
)
def test_transfer_encodings_are_undone_at_any_chunking(data, size, encoding):
    """What was encoded comes back, wherever the pieces end."""
    match encoding:
        case "base64":
            encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
        case "quoted-printable":
            encoded = quopri.encodestring(data)
        case _:
            encoded = data
    decoder = transfer_decoder(encoding)
    pieces = [decoder.feed(encoded[at : at + size]) for at in range(0, len(encoded), size)]
    assert b"".join([*pieces, decoder.finish()]) == data


def test_unknown_and_broken_transfer_encodings_are_refused():
    """A precise reason, not garbage for the decoder."""
    with pytest.raises(MultipartError, match="unknown Content-Transfer-Encoding 'gzip'"):
        transfer_decoder("gzip")
    decoder = transfer_decoder("base64")
    decoder.feed(b"A")
    with pytest.raises(MultipartError, match="base64 part is broken"):
        decoder.finish()
    with pytest.raises(MultipartError, match="too long"):
        transfer_decoder("quoted-printable").feed(b"x" * 5000)
