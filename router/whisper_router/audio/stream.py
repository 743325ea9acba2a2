"""Audio of realtime clients, piece by piece → 16 kHz mono samples, the same however it is cut."""

from enum import StrEnum

import av
import numpy as np

from whisper_router.audio.pcm import Floats, PcmFormat, PcmReader


class Codec(StrEnum):
    """Raw encodings, by FFmpeg's names."""

    S16LE = "pcm_s16le"
    MULAW = "pcm_mulaw"
    ALAW = "pcm_alaw"

    @property
    def sample_bytes(self) -> int:
        """How many bytes a sample has."""
        return 2 if self is Codec.S16LE else 1


class StreamDecoder:
    """Decodes and resamples one mono stream."""

    def __init__(self, codec: Codec, rate_hz: int) -> None:
        self._reader = PcmReader(PcmFormat(rate_hz=rate_hz, width=2, channels=1))
        self._law = None if codec is Codec.S16LE else _law(codec, rate_hz)

    def feed(self, data: bytes) -> Floats:
        """Return the samples that are complete with `data`; the last few come later."""
        if self._law is not None and data:
            frames = self._law.decode(av.Packet(data))
            data = b"".join(frame.to_ndarray().tobytes() for frame in frames)
        return _joined(list(self._reader.read(data)))

    def flush(self) -> Floats:
        """Return the samples that were held back; what comes next has nothing to do with them."""
        return self._reader.flush()


def _law(codec: Codec, rate_hz: int) -> av.AudioCodecContext:
    context = av.AudioCodecContext.create(codec.value, "r")
    context.sample_rate = rate_hz
    context.layout = "mono"
    return context


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
