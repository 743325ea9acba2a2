"""Raw samples of every usual format, cut anywhere."""

import numpy as np
import pytest

from whisper_router.audio.pcm import PcmFormat, PcmReader

TONE_HZ = 440


def tone(form: PcmFormat, seconds: float = 1.0) -> bytes:
    """Return a tone of half the loudness, the same in all channels."""
    times = np.arange(round(form.rate_hz * seconds)) / form.rate_hz
    samples = np.repeat(np.sin(2 * np.pi * TONE_HZ * times) / 2, form.channels)
    if form.width == 1:
        return np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    whole = np.round(samples * (2**31 - 1)).astype("<i4")
    return whole.view(np.uint8).reshape(-1, 4)[:, 4 - form.width :].tobytes()


def heard(form: PcmFormat, data: bytes, size: int) -> np.ndarray:
    reader = PcmReader(form)
    pieces = [
        piece
        for begin in range(0, len(data), size)
        for piece in reader.read(data[begin : begin + size])
    ]
    return np.concatenate([*pieces, reader.end()])


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_format_gives_the_same_tone(rate_hz, width, channels):
    """16 kHz mono; a filter may ring a little at both ends."""
    form = PcmFormat(rate_hz=rate_hz, width=width, channels=channels)
    samples = heard(form, tone(form), 1 << 20)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000) <= 32
    expected = np.sin(2 * np.pi * TONE_HZ * np.arange(len(samples)) / 16_000) / 2
    assert np.abs(samples - expected)[200:-200].max() < 0.02


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_it_does_not_matter_how_the_bytes_are_cut(rate_hz, size):
    """Not even when samples are cut in two."""
    form = PcmFormat(rate_hz=rate_hz, width=2, channels=2)
    data = tone(form, 0.1)
    whole, cut = heard(form, data, 1 << 20), heard(form, data, size)
    assert len(whole) == len(cut)
    assert np.abs(whole - cut).max() < 1e-6


def test_long_audio_comes_a_second_at_a_time():
    """Whoever hears it may do something else in between."""
    form = PcmFormat(rate_hz=8000, width=1, channels=1)
    pieces = list(PcmReader(form).read(bytes([128]) * 8000 * 20))
    assert len(pieces) == 20
    assert max(len(piece) for piece in pieces) <= 16_000


def test_half_a_sample_at_the_end_is_nothing():
    form = PcmFormat(rate_hz=16_000, width=2, channels=1)
    assert len(heard(form, b"\0\0\0", 3)) == 1
    assert len(heard(form, b"", 1)) == 0
