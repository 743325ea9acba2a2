"""What `whisper-router bench` sends."""

import io
import tracemalloc
import wave

import pytest

from support.api_app import sample_path
from whisper_router.commands import bench_audio
from whisper_router.commands.bench_audio import bundled_clips, clips_of_files
from whisper_router.errors import ConfigurationError, InvalidRequest


def test_bundled_recordings_are_those_with_speech_in_the_language(tmp_path):
    """English where nothing is said."""
    assert {clip.name for clip in bundled_clips(language="de", seconds=None, folder=tmp_path)} == {
        "de_digits.wav"
    }
    names = {clip.name for clip in bundled_clips(language=None, seconds=None, folder=tmp_path)}
    assert "en_hello_gb.wav" in names
    assert "silence.wav" not in names
    with pytest.raises(ConfigurationError, match="name files of your own"):
        bundled_clips(language="zh", seconds=None, folder=tmp_path)


@pytest.mark.parametrize("seconds", [0.5, 7.25, 95.0])
def test_recordings_are_joined_to_the_length_that_was_asked_for(seconds, tmp_path):
    """Again from the first one when they are not enough."""
    (clip,) = bundled_clips(language="fr", seconds=seconds, folder=tmp_path)
    with wave.open(io.BytesIO(clip.data)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(seconds, abs=0.001)
    assert clip.seconds == seconds


def test_joined_recordings_take_no_memory_for_their_length(tmp_path):
    """An hour is 110 MiB: it is sent from the file."""
    tracemalloc.start()
    (clip,) = bundled_clips(language=None, seconds=3600, folder=tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (clip.seconds, clip.data) == (3600, None)
    assert most < 16 << 20
    assert clip.path is not None
    assert clip.path.stat().st_size == 44 + 3600 * 32_000


def test_large_files_stay_on_disk(monkeypatch):
    """Memory is the same whatever is sent."""
    path = sample_path("en_three_segments.wav")
    (small,) = clips_of_files([path])
    assert small.data == path.read_bytes()
    assert small.seconds == pytest.approx(6.92, abs=0.01)
    monkeypatch.setattr(bench_audio, "MAX_KEPT_BYTES", 1000)
    (large,) = clips_of_files([path])
    assert large.data is None
    with large.body() as body:
        assert body.read() == small.data


def test_a_file_without_audio_is_named(tmp_path):
    """One that is none, and one that is not there."""
    (tmp_path / "a.txt").write_text("nothing to hear")
    for name in ("a.txt", "b.wav"):
        with pytest.raises(InvalidRequest, match=name):
            clips_of_files([tmp_path / name])
