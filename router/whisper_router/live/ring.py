"""The newest samples of a session, by their position in its audio."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class SampleRing:
    """Holds samples `[begin, end)` of all that were appended, `capacity` at most."""

    def __init__(self, capacity: int) -> None:
        self._samples = np.zeros(capacity, dtype=np.float32)
        self.begin = self.end = 0

    @property
    def room(self) -> int:
        """How many more samples fit."""
        return len(self._samples) - (self.end - self.begin)

    def append(self, samples: Floats) -> None:
        """Add samples at the end.

        Raises:
            BufferError: there is no room for them.
        """
        if len(samples) > self.room:
            raise BufferError(f"{len(samples)} samples, room for {self.room}")
        at = self.end % len(self._samples)
        head = min(len(samples), len(self._samples) - at)
        self._samples[at : at + head] = samples[:head]
        self._samples[: len(samples) - head] = samples[head:]
        self.end += len(samples)

    def drop(self, before: int) -> None:
        """Forget what lies before sample `before`."""
        self.begin = min(max(self.begin, before), self.end)

    def read(self, start: int, end: int) -> Floats:
        """Return a copy of samples `[start, end)`.

        Raises:
            IndexError: some of them are not here any more, or not yet.
        """
        if not self.begin <= start <= end <= self.end:
            raise IndexError(f"[{start}, {end}) of [{self.begin}, {self.end})")
        at, count = start % len(self._samples), end - start
        head = min(count, len(self._samples) - at)
        return np.concatenate((self._samples[at : at + head], self._samples[: count - head]))
