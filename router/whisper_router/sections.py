"""The tables of the configuration file: every key, its default, and what it means."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from whisper_router.api.deps import Dialect
from whisper_router.api.wyoming.address import parse_uri
from whisper_router.audio.media import EXTENSIONS
from whisper_router.logs import LogFormat

MEBIBYTE = 1 << 20


def _words(value: object) -> object:
    """Let a list also be written as one comma-separated string, as environment variables must."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


SomeBytes = Annotated[ByteSize, Field(ge=1)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Dialects = Annotated[tuple[Dialect, ...], NoDecode, BeforeValidator(_words)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )


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
    shutdown_grace_s: float = Field(default=25.0, ge=0)
    """How long running requests may go on after a stop signal."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Least severe log line to print: debug, info, warning or error."""
    log_format: LogFormat = LogFormat.TEXT
    """`text` for people, `json` for log collectors."""


class AuthSettings(Section):
    """Who may use the API."""

    api_key: SecretStr | None = None
    """One key in plain text; better set as the variable API_KEY than in a file."""
    keys_file: Path | None = None
    """File of hashed keys, made with `whisper-router keys new NAME`."""


class AudioSettings(Section):
    """What uploads are accepted and how they are decoded."""

    spool_dir: Path | None = None
    """Directory for uploads and decoded audio while a request runs. Default: the temporary
    directory of the service. A tmpfs is fastest, when it is large enough."""
    extensions: Words = tuple(sorted(EXTENSIONS))
    """File name extensions accepted (a name without one always is; the content decides)."""
    media_workers: int = Field(default=2, ge=1, le=64)
    """Processes that decode audio and look for speech; large files leave one of them to clips."""
    max_duration_s: float = Field(default=8 * 3600.0, gt=0)
    """Longest audio accepted; decoding stops there (a small file can decode to days)."""
    decode_memory_bytes: ByteSize = Field(default=ByteSize(2 << 30), ge=256 * MEBIBYTE)
    """Memory that one decoder process may take (its heap; enforced on Linux)."""
    decode_timeout_s: float = Field(default=30.0, gt=0)
    """Time allowed for decoding one upload, beside `decode_timeout_s_per_mib`."""
    decode_timeout_s_per_mib: float = Field(default=10.0, ge=0)
    """Further time allowed for each MiB of the upload."""


class VadSettings(Section):
    """Voice activity detection: what holds no speech never reaches an engine."""

    enabled: bool = True
    """Look for speech first. Without it every sample is decoded, silence too."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Speech probability at which speech begins; it ends 0.15 below."""
    min_speech_s: float = Field(default=0.1, ge=0)
    """Shorter bursts are not speech."""
    min_contrast_db: float = Field(default=3.0, ge=0)
    """A stretch of which the detector is not certain must be so much louder than what is around it:
    music and machines are not. 0: whatever reaches the threshold is speech, as it also is in a
    request that names a threshold itself."""
    min_silence_s: float = Field(default=0.5, ge=0)
    """Shorter pauses do not end a stretch of speech."""
    pad_s: float = Field(default=0.3, ge=0)
    """Kept before and after each stretch of speech."""
    max_silence_s: float = Field(default=5.0, ge=0)
    """A longer silence is never given to the engine; a shorter one may stay inside a chunk."""


class StoreSettings(Section):
    """Where model files live and how they are fetched."""

    directory: Path | None = None
    """Default: $CACHE_DIRECTORY/models under systemd, else ~/.cache/whisper-router/models."""
    auto_download: bool = True
    """Fetch an absent model when a request asks for it."""
    wait_s: float = Field(default=600.0, ge=0)
    """How long a request waits for a download; then it gets 503 with Retry-After. 0: no wait."""
    endpoint: str | None = None
    """Hub to fetch from; default $HF_ENDPOINT or https://huggingface.co."""
    token: SecretStr | None = None
    """Hub access token; better set as the variable HF_TOKEN."""
    offline: bool = False
    """Never touch the network (also $HF_HUB_OFFLINE=1)."""
    min_free_bytes: ByteSize = Field(default=ByteSize(512 * MEBIBYTE), ge=0)
    """Disk space that a download must leave free."""


class QueueSettings(Section):
    """How much may wait for the workers of one alias."""

    max_requests: int = Field(default=200, ge=1)
    """Requests that may wait for one alias; the next is answered 429 with Retry-After."""
    max_chunks: int = Field(default=2000, ge=1)
    """Chunks of all requests that may wait for one alias."""
    timeout_s: float = Field(default=300.0, gt=0)
    """How long a request may wait for its first turn; then it is answered 504."""


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


class StageSettings(Section):
    """What is done with a transcript beside recognising it (docs/engines.md)."""

    diarization: str = "channels"
    """The plugin that tells speakers apart where a request does not name one."""


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


class SupervisionSettings(Section):
    """How engine processes are started, watched and stopped."""

    start_silence_s: float = Field(default=120.0, gt=0)
    """A starting engine that shows no sign of life for this long has failed."""
    start_limit_s: float = Field(default=1800.0, gt=0)
    """A start that takes longer than this has failed, whatever signs of life it shows."""
    stop_grace_s: float = Field(default=5.0, gt=0)
    """Time between SIGTERM and SIGKILL."""
    longest_pause_s: float = Field(default=60.0, ge=0)
    """An engine that did not start three times in a row is left alone for 1 s, then 2 s, 4 s and so
    on up to this; requests are answered 503 with Retry-After meanwhile."""
    idle_unload_s: float = Field(default=300.0, ge=0)
    """An engine without requests for this long is stopped and its memory freed; 0: never."""
    max_requests: int = Field(default=0, ge=0)
    """An engine process that has served so many chunks is replaced by a fresh one as soon as nobody
    uses it, and its memory freed; 0: never."""
    max_rss_growth: ByteSize = Field(default=ByteSize(0), ge=0)
    """The same for a process whose memory has grown by more than this, such as "512MiB", since it
    served its first chunks; 0: whatever it grows by."""
    chunk_timeout_s: float = Field(default=60.0, gt=0)
    """Time an engine may take for one chunk, beside `chunk_timeout_factor`."""
    chunk_timeout_factor: float = Field(default=10.0, ge=0)
    """Further time allowed: so many times what the model took for as much audio lately. A model
    that has not run yet may take three seconds for each second of audio, times this."""


class DeviceSettings(Section):
    """How much of the machine engines may take together."""

    memory: Literal["auto"] | SomeBytes = "auto"
    """Memory for all engine processes together, such as "12GiB": when the next does not fit, those
    that nobody uses are unloaded, the least recently used first. `auto` is four fifths of this
    machine's memory, or of what its control group allows."""
    gpu_memory: Literal["auto"] | SomeBytes = "auto"
    """The same for the memory of each GPU. `auto` is nine tenths of what `nvidia-smi` says that it
    has; where there is no such program GPU memory is not reckoned with."""
    min_residency_s: float = Field(default=10.0, ge=0)
    """An engine that is in use makes room for another one only after so long, so that two which do
    not fit together take turns."""


class ModelSettings(BaseModel):
    """One alias. Keys that are not listed here are options of its engine (docs/engines.md)."""

    model_config = ConfigDict(
        extra="allow", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    engine: str = "whispercpp"
    """The engine plugin that serves this alias."""
    model: str | None = None
    """A model of the catalogue (`whisper-router models list`)."""
    repo: str | None = None
    """Or a Hugging Face repository, together with `file`."""
    file: str | None = None
    """File in `repo`."""
    revision: str = "main"
    """Branch, tag or commit of `repo`."""
    url: str | None = None
    """Or an http(s) address of the file."""
    sha256: str | None = None
    """Checksum the fetched file must have."""
    path: Path | None = None
    """Or a file on this machine."""
    idle_unload_s: float | None = Field(default=None, ge=0)
    """Instead of `supervision.idle_unload_s`, for this alias."""
    max_requests: int | None = Field(default=None, ge=0)
    """Instead of `supervision.max_requests`, for this alias."""
    max_rss_growth: ByteSize | None = Field(default=None, ge=0)
    """Instead of `supervision.max_rss_growth`, for this alias."""
    max_sessions: int | None = Field(default=None, ge=0)
    """Instead of `live.max_sessions`, for this alias."""
    memory: Literal["auto"] | SomeBytes = "auto"
    """Memory that one process of this alias takes, such as "2GiB"; `auto`: as the catalogue says or
    its file's size suggests, and then as it was measured."""
    preload: bool = False
    """Start this engine with the server instead of with the first request."""

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSettings":
        named = [key for key in ("model", "repo", "url", "path") if getattr(self, key) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} cannot be given together")
        if (self.repo is None) != (self.file is None):
            raise ValueError("repo and file go together")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The engine's options as they were written."""
        return dict(self.model_extra or {})
