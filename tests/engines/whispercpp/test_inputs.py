"""What whisper.cpp is given: samples as they are on disk."""

from pathlib import Path

import numpy as np
import pytest

from whisper_router.domain import Chunk, TranscriptionRequest
from whisper_router_engines.whispercpp.inputs import MIN_SAMPLES, samples_of
from whisper_router_engines.whispercpp.protocol import Order, OrderError, order_json, parse_order


@pytest.fixture
def ramp(tmp_path) -> Path:
    """A second of samples, each of which says where it is."""
    path = tmp_path / "ramp.f32"
    np.linspace(0, 1, 16_000, dtype="<f4").tofile(path)
    return path


def order(path: Path, start: int, end: int, **fields) -> Order:
    chunk = Chunk(path=path, start=start, end=end)
    return parse_order(order_json(chunk, TranscriptionRequest(model="x", **fields)))


def test_the_samples_are_those_of_the_range(ramp):
    """From `start` up to `end`, as they are in the file."""
    found = samples_of(order(ramp, 4_000, 12_000))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.fromfile(ramp, "<f4")[4_000:12_000])


def test_short_audio_is_padded_with_silence(ramp):
    """whisper.cpp would ignore it, or read beyond its end."""
    found = samples_of(order(ramp, 15_000, 15_100))
    assert len(found) == MIN_SAMPLES
    assert np.array_equal(found[:100], np.fromfile(ramp, "<f4")[15_000:15_100])
    assert not found[100:].any()


def test_a_range_beyond_the_file_is_refused(ramp):
    """A file that was cut short meanwhile must not become a bus error."""
    with pytest.raises(OrderError, match="ends before sample 16001"):
        samples_of(order(ramp, 0, 16_001))


def test_a_range_that_is_none_is_refused(ramp):
    """The end lies before the start."""
    with pytest.raises(OrderError, match="200 to 100 are not a range"):
        samples_of(order(ramp, 200, 100))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """With the system's reason."""
    with pytest.raises(OrderError, match="cannot be read: No such file"):
        samples_of(order(tmp_path / "none.f32", 0, 16_000))


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path, strange):
    """They would become a transcript of nonsense."""
    audio = np.zeros(16_000, "<f4")
    audio[77] = strange
    audio.tofile(tmp_path / "strange.f32")
    with pytest.raises(OrderError, match="finite"):
        samples_of(order(tmp_path / "strange.f32", 0, 16_000))
