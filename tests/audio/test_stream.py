"""Raw audio that comes in pieces."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.stream import Codec, StreamDecoder

RATES = [
    (Codec.S16LE, 24_000),
    (Codec.S16LE, 16_000),
    (Codec.S16LE, 48_000),
    (Codec.MULAW, 8000),
    (Codec.ALAW, 8000),
]


def tone(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    """Return 440 Hz at half the greatest volume, as 16-bit samples."""
    at = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.round(np.sin(2 * np.pi * 440 * at) * 16_384).astype("<i2")


def encoded(codec: Codec, samples: np.ndarray) -> bytes:
    """Return samples as a client sends them; G.711 by FFmpeg's encoder."""
    if codec is Codec.S16LE:
        return samples.tobytes()
    context = av.AudioCodecContext.create(codec.value, "w")
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


@pytest.mark.parametrize(("codec", "rate_hz"), RATES)
def test_a_tone_stays_what_it_is(codec, rate_hz):
    """As many samples as there are sixteenths of a millisecond, of the right pitch and volume."""
    decoder = StreamDecoder(codec, rate_hz)
    data = encoded(codec, tone(rate_hz))
    heard = np.concatenate((decoder.feed(data), decoder.flush()))
    assert len(heard) == 16_000
    assert heard.dtype == np.float32
    middle = heard[1000:-1000]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.02)
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() == 440


@given(
    number=st.integers(0, len(RATES) - 1),
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=5),
)
def test_how_it_is_cut_does_not_matter(number, sizes):
    """Also in the middle of a sample."""
    codec, rate_hz = RATES[number]
    data = encoded(codec, tone(rate_hz, 0.2))
    decoder = StreamDecoder(codec, rate_hz)
    whole = np.concatenate((decoder.feed(data), decoder.flush()))
    parts, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        parts.append(decoder.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert np.array_equal(np.concatenate((*parts, decoder.flush())), whole)


def test_what_follows_a_flush_begins_anew():
    """Nothing of what came before is heard in it."""
    decoder = StreamDecoder(Codec.S16LE, 24_000)
    decoder.feed(tone(24_000).tobytes())
    decoder.flush()
    silence = np.concatenate((decoder.feed(bytes(4800)), decoder.flush()))
    assert len(silence) == 1600
    assert not silence.any()


@pytest.mark.parametrize("cut", [1, 4801, 4802])
def test_a_flush_in_the_middle_of_a_sample_does_not_shift_the_others(cut):
    """Its second byte comes later."""
    data = tone(24_000, 0.3).tobytes()
    decoder = StreamDecoder(Codec.S16LE, 24_000)
    parts = [decoder.feed(data[:cut]), decoder.flush(), decoder.feed(data[cut:]), decoder.flush()]
    heard = np.concatenate(parts)
    assert abs(len(heard) - 4800) <= 1
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.05)
    assert np.abs(np.diff(heard)).max() < 0.15


def test_nothing_is_nothing():
    """No bytes, and half a sample."""
    decoder = StreamDecoder(Codec.S16LE, 24_000)
    assert len(decoder.feed(b"")) == len(decoder.feed(b"x")) == len(decoder.flush()) == 0
