"""The certificate and key of the API: read, checked, and taken up again when the files change.

A certificate is renewed while the server runs, and one that is wrong must not end it: the last good
pair is served on. Connections keep what they began with.
"""

import re
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from whisper_router.errors import ConfigurationError

DAY_S = 86_400.0
SOON_DAYS = 14.0
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x17, 0x18, 0xA0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate with its key, ready to be served. Times are Unix times.

    It is good as long as all in its chain are: clients check each.
    """

    context: ssl.SSLContext
    begins_s: float
    expires_s: float
    open_to_others: bool

    def days_left(self, now_s: float) -> float:
        """Return for how many days it is good; negative: since when it is not."""
        return (self.expires_s - now_s) / DAY_S

    def warnings(self, now_s: float) -> Iterator[str]:
        """Yield what an operator should know."""
        days = self.days_left(now_s)
        if days < 0:
            yield f"it expired {-days:.0f} days ago, and clients refuse it"
        elif days < SOON_DAYS:
            yield f"it expires in {days:.0f} days"
        if self.begins_s > now_s:
            yield f"it is not good before {datetime.fromtimestamp(self.begins_s, UTC):%Y-%m-%d}"
        if self.open_to_others:
            yield "every user of this machine may read its key (chmod 640 or 600)"


def load_pair(certificate: Path, key: Path) -> Pair:
    """Return the pair in two PEM files. Blocking.

    Raises:
        ConfigurationError: a file cannot be read or is not PEM, the key is another certificate's
            or has a password; the message names the setting and the file.
    """
    text = _read(certificate, "server.tls_cert")
    key_text = _read(key, "server.tls_key")
    chain = CERTIFICATE.findall(text)
    if not chain:
        raise ConfigurationError(f"server.tls_cert: {certificate} holds no certificate in PEM")
    if "PRIVATE KEY-----" not in key_text:
        raise ConfigurationError(f"server.tls_key: {key} holds no private key in PEM")
    try:
        spans = [_validity(ssl.PEM_cert_to_DER_cert(one)) for one in chain]
    except (ValueError, IndexError) as error:
        raise ConfigurationError(
            f"server.tls_cert: the certificate in {certificate} cannot be read"
        ) from error
    return Pair(
        context=_context(certificate, key),
        begins_s=max(begins_s for begins_s, _ in spans),
        expires_s=min(expires_s for _, expires_s in spans),
        open_to_others=bool(stat.S_IMODE(key.stat().st_mode) & 0o007),
    )


class Certificates:
    """The pair that new connections get.

    `rejected` is why what is in the files now is not served; None: it is.
    """

    def __init__(
        self, certificate: Path, key: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the files. Blocking.

        Raises:
            ConfigurationError: as `load_pair`.
        """
        self._files, self._clock = (certificate, key), clock
        self._looking = threading.Lock()
        self._seen = self._versions()
        self.pair = load_pair(certificate, key)
        self.rejected: str | None = None
        self._warn()

    def look(self) -> str | None:
        """Take up a changed pair; return why that cannot be, and the old one is served. Blocking.

        What was rejected is tried again: that a file may be read now changes nothing in it. A
        reason is logged once, and each day what an operator should know.
        """
        with self._looking:
            seen = self._versions()
            if seen != self._seen or self.rejected is not None:
                self._seen = seen
                self._take_up()
            elif self._clock() - self._warned_s >= DAY_S:
                self._warn()
            return self.rejected

    def _take_up(self) -> None:
        try:
            self.pair = load_pair(*self._files)
        except (ConfigurationError, OSError) as error:
            reason = str(error)
            if reason != self.rejected:
                served = _date(self.pair.expires_s)
                log.error("certificate_rejected", reason=reason, served_expires=served)  # noqa: TRY400
            self.rejected = reason
            return
        self.rejected = None
        log.info("certificate_read", expires=_date(self.pair.expires_s))
        self._warn()

    def _versions(self) -> tuple[object, ...]:
        return tuple(map(_version, self._files))

    def _warn(self) -> None:
        self._warned_s = self._clock()
        for reason in self.pair.warnings(time.time()):
            log.warning("certificate_questionable", reason=reason)


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d}"


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the content, also behind a link; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: {error.strerror}") from error


class _HasPassword(Exception):
    """The key is encrypted."""


def _no_password() -> str:
    raise _HasPassword  # else the library asks on the terminal, and the server waits there


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _HasPassword as error:
        raise ConfigurationError(
            f"server.tls_key: {key} has a password; save it without one "
            "(openssl pkey -in KEY -out KEY2)"
        ) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"server.tls_key: {key} is not the key of the certificate in {certificate}"
            reason += ", whose own comes first and those in between after it"
        else:
            reason = f"server.tls_cert, server.tls_key: {certificate} and {key} cannot be used"
            reason += f" ({(error.reason or 'unknown').lower().replace('_', ' ')})"
        raise ConfigurationError(reason) from error
    return context


def _validity(der: bytes) -> tuple[float, float]:
    """Return from when until when a certificate is good (RFC 5280 4.1). Raises ValueError.

    The standard library tells that only of a peer's certificate which it has verified.
    """
    body = _content(_content(der, SEQUENCE)[0], SEQUENCE)[0]
    if body[0] == VERSION:
        body = _content(body, VERSION)[1]
    for _serial_algorithm_issuer in range(3):
        body = _content(body)[1]
    validity = _content(body, SEQUENCE)[0]
    begins, validity = _time(validity)
    return begins, _time(validity)[0]


def _content(data: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """Return the content of the first element, and what follows it (X.690 8.1)."""
    if tag is not None and data[0] != tag:
        raise ValueError("another element was expected")
    length, begin = data[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[2:begin])
    if begin + length > len(data):
        raise ValueError("an element is longer than what holds it")
    return data[begin : begin + length], data[begin + length :]


def _time(data: bytes) -> tuple[float, bytes]:
    content, rest = _content(data)
    text = content.decode("ascii")
    if data[0] == UTC_TIME:  # two digits of the year, from 1950 on
        text = ("20" if text < "50" else "19") + text
    elif data[0] != GENERALIZED_TIME:
        raise ValueError("this is no time")
    moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return moment.timestamp(), rest
