"""Words in time, or none."""

from dataclasses import replace
from pathlib import Path

from whisper_router.domain import Segment, Word
from whisper_router.stage_api import StageAudio
from whisper_router_engines.stages.alignments import DtwAlignment, NoAlignment

AUDIO = StageAudio(path=Path("unused"), duration_s=1.0, channels=1)


WORD = Word(text="a", start_s=0.1, end_s=0.2, probability=1.0)
SEGMENT = Segment(start_s=0, end_s=1, text=" a", words=(WORD,))


async def test_what_the_engine_has_said_stays():
    assert await DtwAlignment().align([SEGMENT], AUDIO, "en") == [SEGMENT]


async def test_without_alignment_no_word_has_times():
    """Even where something else has made the engine stamp them."""
    assert await NoAlignment().align([SEGMENT], AUDIO, "en") == [replace(SEGMENT, words=())]


def test_only_one_of_them_wants_the_engine_to_stamp_words():
    assert DtwAlignment.needs_word_times
    assert not NoAlignment.needs_word_times
