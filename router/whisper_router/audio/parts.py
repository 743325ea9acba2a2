"""What the headers of one form part say: its name, its file name, how its content is encoded."""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from whisper_router.audio.multipart import MultipartError

_PARAMETER = re.compile(r""";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;]*))""")
_ESCAPED = re.compile(r"\\([\"\\])")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_QP_LINE_BYTES = 1024  # RFC 2045 6.7 allows 76
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """A part's headers, understood. `filename` has no directories."""

    name: str
    filename: str | None
    content_type: str | None
    charset: str | None
    transfer_encoding: str


def part_info(headers: Mapping[str, str]) -> PartInfo:
    """Return what `headers` say.

    Raises:
        MultipartError: the part has no name.
    """
    disposition = header_parameters(headers.get("content-disposition", ""))
    name = disposition.get("name")
    if name is None:
        raise MultipartError("a part has no name in its Content-Disposition header")
    content_type = headers.get("content-type")
    return PartInfo(
        name=_percent_decoded(name),
        filename=file_name(disposition),
        content_type=content_type,
        charset=header_parameters(content_type or "").get("charset"),
        transfer_encoding=headers.get("content-transfer-encoding", "binary").lower(),
    )


def header_parameters(header: str) -> dict[str, str]:
    """Return the parameters of a header value; the backslashes of DOS paths survive."""
    found: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(header):
        found.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) or token.strip())
    return found


def decode_text(data: bytes, charset: str | None) -> str:
    """Return a field's text (RFC 7578 5.1.2: UTF-8 unless the part or the form says otherwise).

    Raises:
        ValueError: it is not text in that charset, or the charset is none that forms use.
    """
    name = (charset or "utf-8").lower()
    if name not in _CHARSETS:
        raise ValueError(f"unknown charset '{charset}'")
    return data.decode(name)


class TransferDecoder(Protocol):
    """Undoes a Content-Transfer-Encoding piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """Return what `data` completes."""
        ...

    def finish(self) -> bytes:
        """Return the rest."""
        ...


def transfer_decoder(encoding: str) -> TransferDecoder:
    """Return a decoder. RFC 7578 4.7 deprecates the header, some mail-minded clients send it.

    Raises:
        MultipartError: the encoding is none of RFC 2045's.
    """
    match encoding:
        case "binary" | "8bit" | "7bit":
            return _Identity()
        case "base64":
            return _Base64()
        case "quoted-printable":
            return _QuotedPrintable()
    raise MultipartError(f"a part has the unknown Content-Transfer-Encoding '{encoding[:40]}'")


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Base64:
    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        symbols = self._held + data.translate(None, _NOT_BASE64)
        whole = len(symbols) - len(symbols) % 4
        self._held = symbols[whole:]
        return _base64(symbols[:whole])

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return _base64(held)


class _QuotedPrintable:
    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        self._held += data
        whole = self._held.rfind(b"\n") + 1
        if not whole and len(self._held) > _QP_LINE_BYTES:
            raise MultipartError("a quoted-printable part has a line that is too long")
        lines, self._held = self._held[:whole], self._held[whole:]
        return binascii.a2b_qp(lines)

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return binascii.a2b_qp(held)


def _base64(symbols: bytes) -> bytes:
    try:
        return binascii.a2b_base64(symbols)
    except binascii.Error as error:
        raise MultipartError("a base64 part is broken") from error


def file_name(disposition: Mapping[str, str]) -> str | None:
    """Return the name in the parameters of a Content-Disposition header, without directories."""
    extended = disposition.get("filename*", "")
    charset, quote, rest = extended.partition("'")
    if quote and charset.lower() in _CHARSETS:  # RFC 5987; RFC 7578 forbids it, clients send it
        text = unquote_to_bytes(rest.partition("'")[2]).decode(charset, errors="replace")
    elif (plain := disposition.get("filename")) is not None:
        text = _percent_decoded(plain)
    else:
        return None
    return re.split(r"[/\\]", text)[-1]


def _percent_decoded(text: str) -> str:
    """Undo the three escapes of the HTML standard's form encoding, and no other."""
    for escape, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
        text = text.replace(escape, character)
    return text
