"""What the connections share, as one value that `serve` builds."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from whisper_router.api.services import Live, ServiceInfo
from whisper_router.api.wyoming.info import SpeechModel
from whisper_router.pipeline.activity import ActivityBoard


class SpeechModels(Protocol):
    """The names that clients may use."""

    def check(self, name: str) -> None:
        """Raise ModelNotFound if clients may not use `name`. Never waits."""
        ...

    def in_use(self, name: str, keep_alive_s: float | None) -> AbstractContextManager[None]:
        """Note that a session uses the model until the block ends."""
        ...

    async def speech_models(self) -> Sequence[SpeechModel]:
        """Return what to list, the default model first. Loads nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WyomingLimits:
    """`max_audio_s` is how long one dictation may be, and how long its client may keep silent."""

    max_audio_s: float = 300.0
    write_timeout_s: float = 10.0
    max_connections: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class WyomingService:
    """Everything behind the protocol."""

    about: ServiceInfo
    live: Live
    models: SpeechModels
    limits: WyomingLimits
    activity: ActivityBoard = field(default_factory=ActivityBoard)
