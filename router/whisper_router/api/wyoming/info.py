"""What the server tells of itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from whisper_router.api.services import ServiceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModel:
    """A model that a client may name. `maker` and `url` tell where its weights come from.

    `is_installed` also when its file can be fetched: Home Assistant leaves out all others.
    """

    name: str
    languages: Sequence[str]
    is_installed: bool
    description: str = ""
    maker: str = ""
    url: str = ""


def describe(service: ServiceInfo, models: Sequence[SpeechModel]) -> Info:
    """Return the answer to `describe`."""
    ours = Attribution(name=service.name, url="")
    program = AsrProgram(
        name=service.name,
        attribution=ours,
        installed=True,
        description="Speech recognition on your own machines",
        version=service.version,
        models=[
            AsrModel(
                name=model.name,
                attribution=Attribution(name=model.maker, url=model.url) if model.maker else ours,
                installed=model.is_installed,
                description=model.description or None,
                version=None,
                languages=list(model.languages),
            )
            for model in models
        ],
        supports_transcript_streaming=True,
    )
    return Info(asr=[program])
