"""Raw audio, piece by piece → 16 kHz mono samples, which are the same however it is cut."""

from enum import StrEnum

import av
import numpy as np
import numpy.typing as npt

from whisper_router.domain import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]


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
        self._codec, self._rate_hz = codec, rate_hz
        self._half = b""  # the first byte of a sample whose second one is still to come
        self._start()

    def feed(self, data: bytes) -> Floats:
        """Return the samples that are complete with `data`; the last few come later."""
        data = self._half + data
        whole = len(data) // self._codec.sample_bytes * self._codec.sample_bytes
        self._half = data[whole:]
        if not whole:
            return np.zeros(0, dtype=np.float32)
        frames = self._decoder.decode(av.Packet(data[:whole]))
        return _joined([part for frame in frames for part in self._resampler.resample(frame)])

    def flush(self) -> Floats:
        """Return the samples that were held back; what comes next has nothing to do with them."""
        rest = _joined(self._resampler.resample(None))
        self._start()
        return rest

    def _start(self) -> None:
        self._decoder = av.AudioCodecContext.create(self._codec.value, "r")
        self._decoder.sample_rate = self._rate_hz
        self._decoder.layout = "mono"
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)


def _joined(frames: "list[av.AudioFrame]") -> Floats:
    parts = [frame.to_ndarray().reshape(-1).astype(np.float32, copy=False) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
