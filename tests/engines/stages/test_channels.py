"""Who speaks is whose channel is the loudest."""

import numpy as np
import pytest

from whisper_router.domain import SpeakerOptions
from whisper_router.errors import EngineRejected
from whisper_router.stage_api import LEVEL_STEP_S, StageAudio
from whisper_router_engines.stages.channels import LEAD_DB, ChannelDiarization

LOUD, QUIET = 0.01, 0.0001  # 20 dB apart


@pytest.fixture
def audio(tmp_path):
    """Make the levels of stretches, each given as seconds and one level for each channel."""

    def make(*stretches: tuple[float, tuple[float, ...]]) -> StageAudio:
        rows = [row for length_s, row in stretches for _ in range(round(length_s / LEVEL_STEP_S))]
        levels = np.array(rows, dtype=np.float32)
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
