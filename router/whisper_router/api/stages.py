"""What a form asks of the stages around recognition: words in time, speakers told apart. Pure."""

from dataclasses import dataclass

from whisper_router.api.fields import Fields, boolean, integer
from whisper_router.domain import SpeakerOptions
from whisper_router.errors import InvalidParameter
from whisper_router.pipeline.stages import AUTO_ALIGNMENT, ENGINE_ALIGNMENT

MAX_KNOWN_SPEAKERS = 4
MAX_SPEAKERS = 64
ALIGNED, NOT_ALIGNED = ENGINE_ALIGNMENT, "none"
"""The alignments that `align=true` and `align=false` mean."""
ALIGNED_IF_POSSIBLE = AUTO_ALIGNMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStages:
    """`transcription` and `alignment` are empty, and `speakers` None, where none is asked for."""

    transcription: str = ""
    alignment: str = ""
    speakers: SpeakerOptions | None = None


def parse_stages(form: Fields, *, needs_speakers: bool) -> WantedStages:
    """Return what is asked for. `needs_speakers`: the answer is nothing without them.

    Raises:
        InvalidParameter: a field has a value that is never acceptable, or two exclude each other.
    """
    return WantedStages(
        transcription=(form.text("transcription") or "").strip(),
        alignment=_alignment(form),
        speakers=_speakers(form, needed=needs_speakers),
    )


def _alignment(form: Fields) -> str:
    named, wanted = form.text("alignment"), boolean("align", form.text("align"))
    if named is not None:
        return named.strip()
    if wanted is None:
        return ""
    return ALIGNED if wanted else NOT_ALIGNED


def _speakers(form: Fields, *, needed: bool) -> SpeakerOptions | None:
    """Return how to tell speakers apart; None: nobody asks for it.

    Known speakers alone ask for nothing: the SDKs send them beside every format.
    """
    names, has_references = _known(form)
    least = _count(form, "min_speakers", "num_speakers")
    most = _count(form, "max_speakers", "num_speakers")
    if least is not None and most is not None and least > most:
        raise InvalidParameter(
            "'min_speakers' is larger than 'max_speakers'.", param="min_speakers"
        )
    method = form.text("diarization")
    wanted = boolean("diarize", form.text("diarize", "diarise_audio"))
    if wanted is False and (needed or method):
        asking = "diarization" if method else "response_format"
        raise InvalidParameter(f"'{asking}' asks for what diarize=false forbids.", param="diarize")
    if not (wanted or needed or method):
        return None
    return SpeakerOptions(
        method=(method or "").strip(),
        min_speakers=least,
        max_speakers=most,
        names=tuple(names),
        has_references=has_references,
    )


def _count(form: Fields, *names: str) -> int | None:
    name = next((name for name in names if form.text(name) is not None), names[0])
    return integer(name, form.text(name), low=1, high=MAX_SPEAKERS)


def _known(form: Fields) -> tuple[list[str], bool]:
    names = list(form.phrases("known_speaker_names"))
    references = form.values("known_speaker_references")  # data URLs, with a comma in each
    if len(names) > MAX_KNOWN_SPEAKERS:
        raise InvalidParameter(
            f"At most {MAX_KNOWN_SPEAKERS} known speakers are supported.",
            param="known_speaker_names",
        )
    if len(set(names)) < len(names) or any(not name.isprintable() for name in names):
        raise InvalidParameter(
            "The names of known speakers must differ, and hold no control characters.",
            param="known_speaker_names",
        )
    if references and len(references) != len(names):
        raise InvalidParameter(
            "known_speaker_names and known_speaker_references must have the same length.",
            param="known_speaker_references",
        )
    return names, bool(references)
