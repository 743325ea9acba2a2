"""Finds speech in live audio, in a thread of this process.

A media worker does that for files, one at a time; live sessions each need a little all the time:
1 s of audio costs about 5 ms. The library lets go of Python while it computes.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from whisper_router.audio.media import VadOptions
from whisper_router.audio.spans import WINDOW

if TYPE_CHECKING:
    from whisper_router.audio.vad import Listening, SpeechDetector

Floats = npt.NDArray[np.float32]


class Ears:
    """The model for all live sessions, loaded with the first audio, and the one thread it runs in.

    Until then neither costs anything.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ears")
        self._detector: SpeechDetector | None = None

    def open(self) -> "Ear":
        """Return a new ear, which knows nothing of what others have heard."""
        return Ear(self)

    async def run(self, ear: "Ear", samples: Floats) -> Sequence[float]:
        """Let `ear` hear in the thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, ear.judge, samples)

    def close(self) -> None:
        """End the thread once it has done what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def listen(self) -> "Listening":
        """Return the model's way through one session's audio. Blocking: it may load the model."""
        # A router without live sessions need not load onnxruntime: 40 MiB and half a second.
        from whisper_router.audio.vad import Listening, SpeechDetector  # noqa: PLC0415

        if self._detector is None:
            self._detector = SpeechDetector()
        return Listening(self._detector, VadOptions())


class Ear:
    """One session's audio. Window by window: how it is cut into pieces does not matter."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._listening: Listening | None = None

    async def hear(self, samples: Floats) -> Sequence[float]:
        """Return the probability of speech in each of the next windows of 512 samples.

        The last one may be shorter: silence is heard after it.
        """
        return await self._ears.run(self, samples)

    def judge(self, samples: Floats) -> Sequence[float]:
        """Do it in the thread. Blocking."""
        if self._listening is None:
            self._listening = self._ears.listen()
        hear = self._listening.probabilities
        samples = np.pad(samples, (0, -len(samples) % WINDOW))
        return [
            float(hear(samples[begin : begin + WINDOW])[0])
            for begin in range(0, len(samples), WINDOW)
        ]
