"""Tables of the configuration file about those who use the server: addresses, keys, protocols.

Those about engines are in `engine_sections`.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import (
    ByteSize,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from whisper_router.api.deps import Dialect
from whisper_router.api.proxies import ProxyHeaders, parse_network
from whisper_router.api.wyoming.address import parse_uri
from whisper_router.logs import LogFormat
from whisper_router.section import Dialects, Section, WebAddress, Words


class ServerSettings(Section):
    """Where and how the API is served."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything beyond loopback needs a key (or `insecure_lan`)."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes a free one and logs it."""
    insecure_lan: bool = False
    """Allow listening beyond loopback although no key is configured."""
    max_upload_bytes: ByteSize = Field(default=ByteSize(1 << 30), ge=1)
    """Largest upload accepted, as a number of bytes or text such as "25MiB"."""
    upload_idle_timeout_s: float = Field(default=60.0, gt=0)
    """An upload that sends nothing for this long is ended with status 408."""
    cors_origins: Words = ()
    """Browser origins that may use the API; "*" allows every one. Empty: CORS is off."""
    allowed_hosts: Words = ()
    """Names by which browsers may reach a server without keys and TLS of its own, such as
    ["stt.example.org", "*.ts.net"]; "*": any. Addresses, names of one word, and those that end as
    only local ones do (.lan, .local, .internal, .home.arpa, …) are let in without."""
    tls_cert: Path | None = None
    """Certificate (PEM), with those in between after it: the API is then at https://. Read again
    when it changes. Needs `tls_key`."""
    tls_key: Path | None = None
    """The certificate's private key (PEM, without a password)."""
    trusted_proxies: Words = ()
    """Addresses and networks of reverse proxies (["127.0.0.1", "10.0.0.0/8"]) that are believed
    what they say of clients: address, scheme, host. Nobody else is."""
    proxy_headers: ProxyHeaders = ProxyHeaders.X_FORWARDED
    """Which headers those write: `x-forwarded` (X-Forwarded-For, -Proto, -Host) or `forwarded`."""
    max_connections: int | Literal["auto"] = Field(default="auto")
    """Connections at a time. "auto": as many as there may be open files for. When there are as
    many, the one that has waited longest for a request is closed for the next."""
    max_connections_per_client: int = Field(default=0, ge=0)
    """The same for one address, but for `trusted_proxies`. 0: no limit of its own."""
    max_request_line_bytes: ByteSize = Field(default=ByteSize(8192), ge=256, le=1 << 20)
    """Longest address of a request; a longer one is answered 414."""
    max_header_bytes: ByteSize = Field(default=ByteSize(32768), ge=1024, le=1 << 20)
    """All headers of a request together; more are answered 431."""
    max_headers: int = Field(default=100, ge=10, le=10_000)
    """Headers of a request; more are answered 431."""
    header_timeout_s: float = Field(default=20.0, gt=0)
    """How long a client may take to send the headers of a request, and for TLS before them."""
    keepalive_timeout_s: float = Field(default=75.0, gt=0)
    """How long a connection is kept for the next request: longer than reverse proxies keep it."""
    write_timeout_s: float = Field(default=60.0, gt=0)
    """A client that reads nothing, or next to nothing, of an answer for so long is cut off."""
    upload_min_bytes_s: float = Field(default=256.0, ge=0)
    """An upload that is slower than this, over two `upload_idle_timeout_s` of waiting for it, is
    ended with status 408. All codecs for speech need more in real time. 0: no limit."""
    shutdown_grace_s: float = Field(default=25.0, ge=0)
    """How long running requests may go on after a stop signal."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Least severe log line to print: debug, info, warning or error."""
    log_format: LogFormat = LogFormat.AUTO
    """`text` for people, `json` for log collectors; `auto`: text on a terminal and in the journal,
    JSON anywhere else."""
    log_file: Path | None = None
    """Where log lines go instead of stderr. The file is opened again when it was moved away."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for text in proxies:
            parse_network(text)
        return proxies

    @field_validator("max_connections")
    @classmethod
    def _is_some(cls, most: int | str) -> int | str:
        if isinstance(most, int) and most < 1:
            raise ValueError("there must be room for one connection")
        return most

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
        return self


class AuthSettings(Section):
    """Who may use the API."""

    api_key: SecretStr | None = None
    """One key in plain text; better set as the variable API_KEY than in a file."""
    keys_file: Path | None = None
    """File of hashed keys, made with `whisper-router keys new NAME`."""
    usage_file: Path | None = None
    """Where it is kept what each key has used: one server's own. Without it `usage.sqlite` in
    `$STATE_DIRECTORY` of systemd, or in `whisper-router` in `$XDG_STATE_HOME` or
    `~/.local/state`; a server that cannot use that keeps it in memory, and says so."""


class AuditSettings(Section):
    """Who has asked for what."""

    file: Path | None = None
    """A file to which a line of JSON is appended for each request, besides the log's own line. It
    is opened again when it was moved away."""


class LiveSettings(Section):
    """Live transcription over WebSockets."""

    max_sessions: int = Field(default=8, ge=0)
    """Live sessions that one model may have at a time; the next is answered 429. 0: none."""
    step_s: float = Field(default=0.5, ge=0.1, le=10)
    """While somebody speaks, the text is looked at again after so much new audio. A slow engine
    makes this longer by itself."""
    silence_s: float = Field(default=0.5, ge=0.1, le=10)
    """A silence of this length ends an utterance."""
    max_utterance_s: float = Field(default=60.0, ge=5)
    """An utterance that has become this long is ended, and the next one begins."""
    no_data_s: float = Field(default=1.0, gt=0)
    """`WS /v1/audio/transcriptions`: a client that sends nothing for so long has finished."""
    inactivity_s: float = Field(default=2.5, ge=0)
    """The same: nobody has spoken for so long, and it is over, after the first 5 s. 0: never."""
    max_session_s: float = Field(default=3600.0, gt=0)
    """`WS /v1/realtime`: a session is ended after so long."""
    write_timeout_s: float = Field(default=10.0, gt=0)
    """A client that does not read what it is sent for so long is cut off."""


class WyomingSettings(Section):
    """Wyoming, the protocol of Home Assistant's voice assistants."""

    uri: str = ""
    """Where to listen: "tcp://127.0.0.1:10300" or "unix:///run/whisper-router/wyoming.sock". Empty:
    nowhere."""
    insecure_lan: bool = False
    """Allow a TCP address beyond loopback: the protocol knows no keys, so everybody who can reach
    it may use every model."""
    socket_mode: str = Field(default="660", pattern="^0?[0-7]{3}$")
    """Permissions of the socket file, in octal digits."""
    max_audio_s: float = Field(default=300.0, gt=0)
    """Audio that has not ended after so long is taken as complete; so it is when its client has
    kept it waiting for so long altogether."""
    zeroconf: bool = False
    """Let Home Assistant find the TCP address by itself (needs `whisper-router[zeroconf]`)."""
    zeroconf_name: str = Field(default="", max_length=40)
    """What it is called there. Empty: `whisper-router-` and the name of this machine."""

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, uri: str) -> str:
        if uri:
            parse_uri(uri)
        return uri


class JobSettings(Section):
    """Transcriptions that outlive their request (`/v1/jobs`)."""

    enabled: bool = True
    """Whether there are any."""
    directory: Path | None = None
    """Where they are kept, with their audio and their results: one server's own. Without it
    `$STATE_DIRECTORY` of systemd, or `whisper-router` in `$XDG_STATE_HOME` or `~/.local/state`; a
    server that cannot use that directory goes on without jobs."""
    max_running: int = Field(default=2, ge=1)
    """Jobs that run at a time. Their chunks give way to those of other requests."""
    max_queued: int = Field(default=10_000, ge=1)
    """Jobs that may wait; the next is answered 429."""
    keep_s: float = Field(default=604_800.0, ge=0)
    """A job that has ended is erased after so long, with its result; if its webhook is still to be
    called, the job itself is erased after that."""
    keep_audio: bool = False
    """Whether the audio is kept as long as the result; else it is erased when the job ends."""


class MetricsSettings(Section):
    """What `/metrics` tells Prometheus."""

    open: bool = False
    """Whether it needs no key. It tells the names of models, and how much they are used."""


class TracingSettings(Section):
    """Traces for OpenTelemetry (needs `whisper-router[otel]`)."""

    enabled: bool = False
    """Record where the time of each request goes, and send that to a collector."""
    endpoint: WebAddress | None = None
    """The collector, for OTLP over HTTP: `http://collector:4318`. Default: as the variables of
    OpenTelemetry say (`OTEL_EXPORTER_OTLP_ENDPOINT`), else this machine."""


class DialectSettings(Section):
    """The APIs of other servers, for clients that were made for those (docs/dialects.md)."""

    enabled: Dialects = tuple(Dialect)
    """Those that are served beside the OpenAI API."""
    whisperx_root: bool = False
    """Whether `/v1/audio/transcriptions` itself answers as whisperX API server does, whose answers
    are otherwise under `/whisperx`."""
    old_sse: bool = False
    """Whether a stream is as that of faster-whisper-server was: a whole answer in each event."""


class OutboundSettings(Section):
    """Requests that clients have this server make: for audio by its address, and to webhooks."""

    allow_private: bool = False
    """Whether addresses of private networks and of this machine may be asked. Where clients are not
    trusted this opens what only this server can reach."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may be asked although their addresses are private: names, addresses or networks
    such as "10.0.0.0/8"."""
    url_timeout_s: float = Field(default=900.0, gt=0)
    """How long fetching audio may take; it may be as large as an upload."""
    webhook_timeout_s: float = Field(default=15.0, gt=0)
    """How long a webhook may take to answer."""
