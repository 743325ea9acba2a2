"""Who speaks is whose channel is the loudest."""

import time
import tracemalloc

import numpy as np
import pytest

from whisper_router.domain import SpeakerOptions
from whisper_router.errors import EngineRejected
from whisper_router.stage_api import LEVEL_STEP_S, StageAudio
from whisper_router_engines.stages.channels import LEAD_DB, ChannelDiarization

LOUD, QUIET = 0.01, 0.0001  # 20 dB apart
GAP = 0.001
RANDOM = np.random.default_rng(7)


@pytest.fixture
def audio(tmp_path):
    """Make the levels of stretches, each given as seconds and one level for each channel.

    They are of speech: every fifth step is a gap between sounds. Each channel has noise as well.
    """

    def make(*stretches: tuple[float, tuple[float, ...]], noise=0.0) -> StageAudio:
        rows = [row for length_s, row in stretches for _ in range(round(length_s / LEVEL_STEP_S))]
        levels = np.array(rows, dtype=np.float32)
        levels[::5] *= GAP
        levels += (noise * RANDOM.chisquare(60, levels.shape) / 60).astype(np.float32)
        path = tmp_path / "levels"
        path.write_bytes(levels.tobytes())
        return StageAudio(
            path=tmp_path / "audio",
            duration_s=len(rows) * LEVEL_STEP_S,
            channels=levels.shape[1],
            levels=path,
        )

    return make


async def told(audio: StageAudio, **wanted: int) -> list[tuple[float, float, int]]:
    turns = await ChannelDiarization().turns(audio, SpeakerOptions(**wanted))
    return [(round(turn.start_s, 2), round(turn.end_s, 2), turn.speaker) for turn in turns]


async def test_each_channel_has_its_turns(audio):
    """The borders are right to half of the window over which levels are compared."""
    turns = await told(
        audio((2, (LOUD, QUIET)), (1, (0, 0)), (2, (QUIET, LOUD)), (1, (LOUD, QUIET)))
    )
    assert [speaker for *_, speaker in turns] == [0, 1, 0]
    assert np.allclose([turn[:2] for turn in turns], [(0, 2), (3, 5), (5, 6)], atol=0.16)


async def test_silence_is_nobodys(audio):
    assert await told(audio((3, (0, 0)))) == []


async def test_a_cough_does_not_change_the_speaker(audio):
    """Nor does somebody who is hardly louder."""
    near = LOUD * 10 ** ((LEAD_DB - 1) / 10)
    turns = await told(
        audio((2, (LOUD, QUIET)), (0.06, (QUIET, LOUD)), (2, (LOUD, QUIET)), (1, (LOUD, near)))
    )
    assert len(turns) == 1


async def test_of_many_channels_the_loudest_are_heard(audio):
    """Channels keep their numbers."""
    turns = await told(audio((1, (QUIET, 0.0, LOUD)), (1, (QUIET, LOUD, 0.0))), max_speakers=2)
    assert [speaker for *_, speaker in turns] == [2, 1]


async def test_more_speakers_than_channels_cannot_be_told_apart(audio):
    with pytest.raises(EngineRejected, match="2 channels") as caught:
        await told(audio((1, (LOUD, QUIET))), min_speakers=3)
    assert caught.value.param == "min_speakers"


async def test_noise_is_nobodys(audio):
    """However loud its channel is beside that of who speaks quietly; pauses are nobody's, too."""
    turns = await told(
        audio((2, (LOUD, 0)), (2, (0, 0)), (2, (0, QUIET)), (2, (0, 0)), noise=(QUIET * 3, 0))
    )
    assert [speaker for *_, speaker in turns] == [0, 1]
    assert np.allclose([turn[:2] for turn in turns], [(0, 2), (4, 6)], atol=0.16)


async def test_a_channel_of_noise_alone_is_nobodys(audio):
    noisy = audio((2, (QUIET, 0, 0)), (1, (0, 0, QUIET)), noise=(0, LOUD, 0))
    assert {speaker for *_, speaker in await told(noisy, max_speakers=2)} == {0, 2}


async def test_who_speaks_without_a_break_is_heard(audio):
    """The floor lies in the gaps between sounds."""
    turns = await told(audio((5, (LOUD, QUIET / 10)), noise=(QUIET / 10, QUIET / 10)))
    assert turns == [(0, 5, 0)]


@pytest.mark.parametrize("noise", [0.0, QUIET])
async def test_blocks_leave_no_traces(audio, monkeypatch, noise):
    """Turns are the same, however much is worked on at a time."""
    talk = [(RANDOM.uniform(0.1, 1), RANDOM.choice([0, QUIET, LOUD], 3)) for _ in range(60)]
    made = audio(*talk, noise=noise)
    whole = await told(made)
    assert len(whole) > 10
    monkeypatch.setattr("whisper_router_engines.stages.channels.BLOCK_STEPS", 37)
    assert await told(made) == whole


async def test_hours_cost_seconds_and_little_memory(tmp_path):
    """Eight hours on two channels, with a turn each second."""
    speech = RANDOM.random((50 * 3600, 2), dtype=np.float32) * LOUD
    turn_of = np.arange(len(speech)) // 50 % 2
    speech[np.arange(len(speech)), turn_of] *= GAP
    path = tmp_path / "levels"
    path.write_bytes(speech.tobytes() * 8)
    audio = StageAudio(path=tmp_path / "audio", duration_s=8 * 3600, channels=2, levels=path)
    tracemalloc.start()
    began_s = time.process_time()
    try:
        turns = await ChannelDiarization().turns(audio, SpeakerOptions())
        took_s, (_, most) = time.process_time() - began_s, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(turns) == 8 * 3600
    assert took_s < 3
    assert most < 24 << 20
