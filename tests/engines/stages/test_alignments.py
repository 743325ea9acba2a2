"""Words in time, or none."""

from pathlib import Path

import pytest

from whisper_router.domain import Segment, Word
from whisper_router.stage_api import StageAudio
from whisper_router_engines.stages.alignments import DtwAlignment, NoAlignment

AUDIO = StageAudio(path=Path("unused"), duration_s=1.0, channels=1)


@pytest.mark.parametrize("alignment", [DtwAlignment(), NoAlignment()])
async def test_what_the_engine_has_said_stays(alignment):
    word = Word(text="a", start_s=0.1, end_s=0.2, probability=1.0)
    segments = [Segment(start_s=0, end_s=1, text=" a", words=(word,))]
    assert await alignment.align(segments, AUDIO, "en") == segments


def test_only_one_of_them_wants_the_engine_to_stamp_words():
    assert DtwAlignment.needs_word_times
    assert not NoAlignment.needs_word_times
