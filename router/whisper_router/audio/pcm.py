"""Raw samples as they come, piece by piece → 16 kHz mono between -1 and 1."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
import numpy.typing as npt

from whisper_router.domain import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]

RATES_HZ: Final = range(1_000, 384_001)
WIDTHS: Final = range(1, 5)
MAX_CHANNELS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """Little-endian samples of `width` bytes, as in a WAV file: one byte has no sign."""

    rate_hz: int
    width: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """How many bytes one moment of all channels takes."""
        return self.width * self.channels


class PcmReader:
    """Samples of one stream. How it is cut does not matter: not even a sample need be whole."""

    def __init__(self, form: PcmFormat) -> None:
        self.form = form
        self._rest = b""
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)

    def read(self, data: bytes) -> Iterator[Floats]:
        """Yield what the next bytes hold, about a second at a time."""
        data = self._rest + data
        piece = self.form.rate_hz * self.form.frame_bytes
        whole = len(data) // self.form.frame_bytes * self.form.frame_bytes
        self._rest = data[whole:]
        for begin in range(0, whole, piece):
            samples = _mono(data[begin : min(begin + piece, whole)], self.form)
            yield self._resampled(samples)

    def flush(self) -> Floats:
        """Return what the filter has kept; what comes next has nothing to do with it.

        A sample of which only the first bytes are here is completed by that, all the same.
        """
        rest = self.end()
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        return rest

    def end(self) -> Floats:
        """Return what the filter has kept; of a sample that is not whole nothing."""
        if self.form.rate_hz == SAMPLE_RATE_HZ:
            return np.zeros(0, dtype=np.float32)
        return _joined(self._resampler.resample(None))

    def _resampled(self, samples: Floats) -> Floats:
        if self.form.rate_hz == SAMPLE_RATE_HZ:
            return samples
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self.form.rate_hz
        return _joined(self._resampler.resample(frame))


def _mono(data: bytes, form: PcmFormat) -> Floats:
    """Return the mean of all channels."""
    scale = np.float32(2 ** (8 * form.width - 1))
    if form.width == 1:
        samples = np.frombuffer(data, dtype=np.uint8).astype(np.float32) - scale
    elif form.width == 3:  # numpy has no such number: it becomes the upper three bytes of four
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        samples = (wide.view("<i4")[:, 0] >> 8).astype(np.float32)
    else:
        samples = np.frombuffer(data, dtype=f"<i{form.width}").astype(np.float32)
    mean: Floats = samples.reshape(-1, form.channels).mean(axis=1, dtype=np.float32)
    return mean / scale


def _joined(frames: list[av.AudioFrame]) -> Floats:
    parts = [frame.to_ndarray()[0].astype(np.float32) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
