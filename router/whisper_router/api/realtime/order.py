"""What the settings of a realtime session mean: a request, and audio of some format."""

from dataclasses import dataclass, replace

from whisper_router.api.realtime.config import Pcm, Pcma, Pcmu, SessionConfig
from whisper_router.api.realtime.items import AudioLog
from whisper_router.api.services import Live, ModelDirectory
from whisper_router.audio.stream import Codec, StreamDecoder
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import InvalidParameter, ModelNotFound

DEFAULT_MODEL = "whisper-1"
CODECS = {Pcm: (Codec.S16LE, 24_000), Pcmu: (Codec.MULAW, 8000), Pcma: (Codec.ALAW, 8000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOrder:
    """How a session begins. `request` says on whose behalf; its model and language are not used."""

    config: SessionConfig
    defaults: SessionConfig
    request: TranscriptionRequest
    expires_at: int
    is_beta: bool = False

    def request_of(self, config: SessionConfig) -> TranscriptionRequest:
        """Return the request that these settings mean."""
        spoken = config.input.transcription
        return replace(
            self.request,
            model=model_of(config),
            language=config.language,
            prompt=spoken.prompt or "",
            hotwords=tuple(spoken.keywords or ()),
        )

    def check(self, config: SessionConfig, *, models: ModelDirectory, live: Live) -> None:
        """Check that there is such a model, and that it can do this.

        Raises:
            InvalidParameter: there is not, or it cannot; `param` is the field of the session.
        """
        path = "session.audio.input.transcription"
        try:
            models.check(model_of(config))
            live.check(self.request_of(config))
        except ModelNotFound as error:
            raise InvalidParameter(
                str(error), param=f"{path}.model", code="invalid_model"
            ) from error
        except InvalidParameter as error:
            raise InvalidParameter(
                str(error), param=f"{path}.{error.param}", code=error.code
            ) from error


def model_of(config: SessionConfig) -> str:
    """Return the model that these settings name, or the usual one."""
    return config.input.transcription.model or DEFAULT_MODEL


def input_of(config: SessionConfig, *, at_s: float) -> tuple[AudioLog, StreamDecoder]:
    """Return what keeps and what decodes audio of the format in the settings, from `at_s` on."""
    codec, rate_hz = CODECS[type(config.input.format)]
    return AudioLog(rate_hz * codec.sample_bytes, at_s=at_s), StreamDecoder(codec, rate_hz)
