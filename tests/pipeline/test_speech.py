"""Where somebody speaks: found in real files, cut where it is too long."""

import itertools
import math
from pathlib import Path

import pytest

from support.api_app import sample_path
from whisper_router.audio.media import MediaLimits, Span, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.errors import AudioUndecodable
from whisper_router.pipeline.speech import SpeechFinder, cut
from whisper_router.pipeline.transcribe import MediaSource
from whisper_router.tasks import Tasks

PAUSES = [Span(start_s=2.0, end_s=2.2), Span(start_s=3.0, end_s=3.1), Span(start_s=7.0, end_s=7.5)]


def times(span: Span, longest_s: float) -> list[tuple[float, float]]:
    return [(part.start_s, part.end_s) for part in cut(span, PAUSES, longest_s)]


def test_what_is_short_enough_stays_whole():
    assert times(Span(start_s=1.0, end_s=9.0), math.inf) == [(1.0, 9.0)]
    assert times(Span(start_s=1.0, end_s=9.0), 8.0) == [(1.0, 9.0)]


def test_long_speech_is_cut_at_its_last_pause():
    """The pause itself is left out; without one the cut is where it must be."""
    found = times(Span(start_s=1.0, end_s=11.0), 3.0)
    assert found == [(1.0, 3.0), (3.1, 6.1), (6.1, 7.0), (7.5, 10.5), (10.5, 11.0)]


def test_no_part_is_longer_than_it_may_be():
    for longest_s in (0.1, 0.5, 1.3, 4.9):
        parts = times(Span(start_s=0.0, end_s=60.0), longest_s)
        assert max(end - start for start, end in parts) <= longest_s + 1e-6
        assert (parts[0][0], parts[-1][1]) == (0.0, 60.0)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(parts))


@pytest.fixture
async def finder(tmp_path: Path):
    """One with a media worker of its own."""
    tasks, spool = Tasks(), Spool.create(tmp_path / "spool")
    media = MediaPool(workers=1, limits=MediaLimits(), tasks=tasks)
    await media.start()
    yield SpeechFinder(media, spool)
    await media.close()
    await tasks.close()
    assert not [path for path in spool.directory.rglob("*.f32")]
    spool.close()


async def test_speech_of_a_real_file(finder: SpeechFinder, tmp_path: Path):
    """Three phrases; shorter parts on request; nothing in what is no audio."""
    media = MediaSource(path=sample_path("en_three_segments.wav"))
    vad = VadOptions(threshold=0.75, min_speech_s=0.0, pad_s=0.0, min_contrast_db=0.0)
    spans = await finder.find(media, vad)
    starts = [span.start_s for span in spans]
    assert starts == pytest.approx([0.3, 2.76, 6.15], abs=0.15)
    parts = await finder.find(media, vad, longest_s=0.5)
    assert len(parts) > len(spans)
    assert max(part.end_s - part.start_s for part in parts) <= 0.5 + 1e-6
    nothing = tmp_path / "nothing.wav"
    nothing.write_bytes(b"this is no audio" * 100)
    with pytest.raises(AudioUndecodable):
        await finder.find(MediaSource(path=nothing), vad)
    assert await finder.find(MediaSource(path=sample_path("silence.wav")), vad) == []
