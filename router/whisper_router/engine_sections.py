"""Tables of the configuration file that say how audio becomes text: files, queues, engines."""

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from whisper_router.audio.media import EXTENSIONS
from whisper_router.section import MEBIBYTE, Section, SomeBytes, WebAddress, Words


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
    endpoint: WebAddress | None = None
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


class StageSettings(Section):
    """What is done with a transcript beside recognising it (docs/engines.md)."""

    diarization: str = "channels"
    """The plugin that tells speakers apart where a request does not name one."""


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
