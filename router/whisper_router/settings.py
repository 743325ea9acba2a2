"""The only reader of configuration files and environment. Built once, in `cli`.

Later sources win: defaults < TOML file < variables of whisper-openai-server < variables
`WHISPER_ROUTER__SECTION__KEY` < flags. Unknown keys and variables are errors. Every field's
docstring is its line in `config/router.toml` and in the table of `docs/configuration.md`.
"""

from pydantic_settings import BaseSettings, SettingsConfigDict

from whisper_router.engine_sections import (
    AudioSettings,
    DeviceSettings,
    ModelSettings,
    QueueSettings,
    StageSettings,
    StoreSettings,
    SupervisionSettings,
    VadSettings,
)
from whisper_router.section import Section
from whisper_router.sections import (
    AuditSettings,
    AuthSettings,
    DialectSettings,
    JobSettings,
    LiveSettings,
    MetricsSettings,
    OutboundSettings,
    ServerSettings,
    TracingSettings,
    WyomingSettings,
)

__all__ = [
    "ENV_PREFIX",
    "AudioSettings",
    "JobSettings",
    "ModelSettings",
    "Section",
    "ServerSettings",
    "Settings",
    "StoreSettings",
]

ENV_PREFIX = "WHISPER_ROUTER__"


class Settings(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        nested_model_default_partial_update=False,
    )

    default_model: str = "whisper-1"
    """The alias that `whisper-1` and the other OpenAI model names mean."""
    server: ServerSettings = ServerSettings()
    """Where and how the API is served."""
    auth: AuthSettings = AuthSettings()
    """Who may use the API."""
    audit: AuditSettings = AuditSettings()
    """Who has asked for what."""
    audio: AudioSettings = AudioSettings()
    """What uploads are accepted and how they are decoded."""
    vad: VadSettings = VadSettings()
    """Voice activity detection."""
    store: StoreSettings = StoreSettings()
    """Where model files live and how they are fetched."""
    queue: QueueSettings = QueueSettings()
    """How much may wait for the workers of one alias."""
    live: LiveSettings = LiveSettings()
    """Live transcription over WebSockets."""
    wyoming: WyomingSettings = WyomingSettings()
    """Wyoming, the protocol of Home Assistant's voice assistants."""
    jobs: JobSettings = JobSettings()
    """Transcriptions that outlive their request (`/v1/jobs`)."""
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    """Figures for Prometheus."""
    stages: StageSettings = StageSettings()
    """Stages around recognition."""
    dialects: DialectSettings = DialectSettings()
    """The APIs of other servers."""
    outbound: OutboundSettings = OutboundSettings()
    """Requests that clients have this server make."""
    supervision: SupervisionSettings = SupervisionSettings()
    """How engine processes are started, watched and stopped."""
    devices: DeviceSettings = DeviceSettings()
    """How much of the machine engines may take together."""
    models: dict[str, ModelSettings] = {}
    """One table per alias: `[models.NAME]`."""
