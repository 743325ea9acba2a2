"""Where to listen, as Wyoming's programs write it: `tcp://HOST:PORT` or `unix:///PATH`. Pure."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A port of this machine; 0 takes a free one."""

    host: str
    port: int

    @property
    def uri(self) -> str:
        """The address as it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """A socket file."""

    path: Path

    @property
    def uri(self) -> str:
        """The address as it is written."""
        return f"unix://{self.path}"


Address = TcpAddress | UnixAddress


def parse_uri(uri: str) -> Address:
    """Return the address.

    Raises:
        ValueError: it is none; the message is a sentence.
    """
    parts = urlsplit(uri)
    if parts.scheme == "tcp" and not parts.path.strip("/"):
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"'{uri}' names no port between 0 and 65535") from error
        if host and port is not None:
            return TcpAddress(host=host, port=port)
    if parts.scheme == "unix" and not parts.netloc and Path(parts.path).name:
        return UnixAddress(path=Path(parts.path))
    raise ValueError(f"'{uri}' is neither tcp://HOST:PORT nor unix:///PATH")
