"""Which plugin does what is asked for."""

import threading
from pathlib import Path

import pytest

from whisper_router.audio.media import PreparedAudio
from whisper_router.domain import Segment, SpeakerOptions, TranscriptionRequest
from whisper_router.engine_api import Capabilities
from whisper_router.errors import InvalidParameter
from whisper_router.pipeline.speakers import assign
from whisper_router.pipeline.stages import Stages
from whisper_router.plugins import load_alignments, load_diarizations
from whisper_router.stage_api import Turn

STAGES = Stages(
    alignments=load_alignments(), diarizations=load_diarizations(), diarization="channels"
)


def able(*, words: bool) -> Capabilities:
    return Capabilities(
        tasks=frozenset(),
        streaming=True,
        word_timestamps=words,
        logprobs=True,
        languages=None,
        concurrency=1,
        accelerators=frozenset(),
    )


def asking(**fields) -> TranscriptionRequest:
    return TranscriptionRequest(model="m", **fields)


@pytest.mark.parametrize(
    ("stages", "request_", "param", "told"),
    [
        (STAGES, asking(alignment="wav2vec2"), "alignment", "'dtw', 'none'"),
        (STAGES, asking(speakers=SpeakerOptions(method="x")), "diarization", "'channels'"),
        (Stages(), asking(speakers=SpeakerOptions()), "diarization", "none"),
        (
            STAGES,
            asking(speakers=SpeakerOptions(has_references=True)),
            "known_speaker_references",
            "compares no voices",
        ),
    ],
)
def test_what_is_not_installed_is_refused(stages, request_, param, told):
    """With what would have to be."""
    with pytest.raises(InvalidParameter, match=told) as caught:
        stages.check(request_)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_value")
    assert caught.value.param == param


@pytest.mark.parametrize("words", [True, False])
def test_speakers_are_told_apart_by_words_where_there_are_any(words):
    found = STAGES.demanding(asking(speakers=SpeakerOptions()), able(words=words))
    assert found.word_timestamps is words


def test_an_alignment_says_whether_words_are_wanted():
    speakers = SpeakerOptions()
    assert STAGES.demanding(asking(alignment="dtw"), able(words=True)).word_timestamps
    without = asking(alignment="none", speakers=speakers)
    assert not STAGES.demanding(without, able(words=True)).word_timestamps


def test_an_alignment_that_needs_words_is_refused_where_there_are_none():
    """The alignment is to blame, unless something else asks for them, too."""
    with pytest.raises(InvalidParameter, match="'dtw'") as caught:
        STAGES.demanding(asking(alignment="dtw"), able(words=False))
    assert (caught.value.param, caught.value.code) == ("alignment", "unsupported_value")
    both = asking(alignment="dtw", word_timestamps=True)
    assert STAGES.demanding(both, able(words=False)) == both


@pytest.mark.parametrize(("words", "alignment"), [(True, "dtw"), (False, "")])
def test_what_is_wished_for_is_done_where_it_can_be(words, alignment):
    """An alignment that must not fail anything."""
    wish = asking(alignment="auto")
    STAGES.check(wish)
    found = STAGES.demanding(wish, able(words=words))
    assert (found.alignment, found.word_timestamps) == (alignment, words)
    assert Stages().demanding(wish, able(words=words)).alignment == ""


def test_another_engine_than_the_models_is_refused():
    stages = Stages(engines=["b", "a"])
    for transcription in ("", "a"):
        stages.check_engine(asking(transcription=transcription), "a")
    for transcription in ("b", "c"):
        with pytest.raises(
            InvalidParameter, match=r"engine 'a', .* installed are: 'a', 'b'\."
        ) as err:
            stages.check_engine(asking(transcription=transcription), "a")
        assert (err.value.param, err.value.code) == ("transcription", "unsupported_value")


def test_what_would_have_to_be_installed_is_said_to_people():
    """How, and what."""
    with pytest.raises(InvalidParameter, match=r"with pip: a Python package that provides it"):
        STAGES.check(asking(alignment="wav2vec2"))


def test_what_asks_for_no_stage_is_left_alone():
    request = asking()
    STAGES.check(request)
    assert STAGES.demanding(request, able(words=True)) == request
    assert not STAGES.has_work(request)
    assert not STAGES.needs_levels(request)


async def test_speakers_are_laid_over_the_words_outside_of_the_loop(monkeypatch):
    """It takes long for hours of words; others are served meanwhile."""

    class Told:
        name, needs_levels, compares_voices = "told", False, False

        async def turns(self, audio, wanted):
            return [Turn(start_s=0, end_s=1, speaker=0)]

    seen = []

    def watched(*args):
        seen.append(threading.current_thread())
        return assign(*args)

    monkeypatch.setattr("whisper_router.pipeline.stages.assign", watched)
    audio = PreparedAudio(
        path=Path("unused"),
        samples=16_000,
        duration_s=1,
        speech=None,
        codec="pcm",
        sample_rate_hz=16_000,
        channels=1,
    )
    (segment,) = await Stages(diarizations={"told": Told()}, diarization="told").finish(
        asking(speakers=SpeakerOptions()),
        [Segment(start_s=0, end_s=1, text=" a")],
        audio,
        levels=None,
        language=None,
    )
    assert segment.speaker == "A"
    assert seen
    assert seen[0] is not threading.main_thread()
