"""How loud each channel is."""

import numpy as np
import pytest

from support.audio_files import tone, wav
from whisper_router.audio.decode import decode
from whisper_router.audio.levels import MOST_CHANNELS
from whisper_router.errors import ChannelsUnusable
from whisper_router.stage_api import LEVEL_STEP_S


def measured(content: bytes, tmp_path, channels: int):
    path = tmp_path / "source.wav"
    path.write_bytes(content)
    decoded = decode(
        path, tmp_path / "out.f32", pcm=None, max_duration_s=60, levels=tmp_path / "out.levels"
    )
    rows = np.fromfile(tmp_path / "out.levels", dtype=np.float32).reshape(-1, channels)
    return decoded, rows


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_each_channel_is_measured_by_itself(tmp_path, rate_hz):
    """The mean square of a sine is half the square of its top, at any rate."""
    left, right = tone(2, rate_hz, level=0.5), tone(2, rate_hz, level=0.05)
    content = wav(np.stack([left, right], axis=-1), rate_hz)
    decoded, rows = measured(content, tmp_path, 2)
    assert abs(len(rows) - decoded.duration_s / LEVEL_STEP_S) <= 1
    assert np.allclose(rows[10:-10, 0], 0.125, rtol=0.02)
    assert np.allclose(rows[10:-10, 1], 0.00125, rtol=0.02)


def test_one_channel_tells_nobody_apart(tmp_path):
    """It is known before anything is recognised."""
    with pytest.raises(ChannelsUnusable, match="one channel") as caught:
        measured(wav(tone(1, 16_000), 16_000), tmp_path, 1)
    assert (caught.value.status, caught.value.param) == (400, "diarization")


def test_more_channels_than_speakers_are_not_measured(tmp_path):
    """A small file may have very many."""
    content = wav(np.tile(tone(0.1, 16_000)[:, None], MOST_CHANNELS + 1), 16_000)
    with pytest.raises(ChannelsUnusable, match=r"17 channels.*at most 16") as caught:
        measured(content, tmp_path, MOST_CHANNELS + 1)
    assert (caught.value.status, caught.value.param) == (400, "diarization")
    _, rows = measured(
        wav(np.tile(tone(1, 16_000)[:, None], MOST_CHANNELS), 16_000), tmp_path, MOST_CHANNELS
    )
    assert np.allclose(rows[10:-10], rows[10, 0], rtol=0.02)
