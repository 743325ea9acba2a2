"""How loud each channel of a file is, while it is decoded. For media workers: it imports PyAV."""

from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.error import BlockingIOError as NothingYet
from av.filter import Graph

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import ChannelsUnusable
from whisper_router.stage_api import LEVEL_STEP_S

STEP: Final = round(LEVEL_STEP_S * SAMPLE_RATE_HZ)
LEAST_CHANNELS: Final = 2
MOST_CHANNELS: Final = 16
"""What recorders of meetings have; a file costs as much as its channels, however small it is."""
Floats = npt.NDArray[np.float32]


class LevelMeter:
    """Writes a row of mean squares, one for each channel, for every `LEVEL_STEP_S` of audio.

    The channels are those of the first frame: of later ones with more the rest is left out, of
    those with fewer it is silent.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._channels = 0
        self._graph: Graph | None = None
        self._rest: Floats = np.empty((0, 0), dtype=np.float32)

    def begin(self, sample_format: str, layout: str, rate_hz: int, *, channels: int) -> None:
        """Expect frames of this shape from now on.

        Raises:
            ChannelsUnusable: there is one channel only, or more than `MOST_CHANNELS`.
        """
        if not self._channels:
            if channels < LEAST_CHANNELS:
                raise ChannelsUnusable(
                    "The audio has one channel: speakers can be told apart by their channels only "
                    "where each has one. Without diarization it can be transcribed; to tell "
                    "voices apart, install a diarization plugin that does."
                )
            if channels > MOST_CHANNELS:
                raise ChannelsUnusable(
                    f"The audio has {channels} channels: speakers can be told apart by at most "
                    f"{MOST_CHANNELS}. Without diarization it can be transcribed."
                )
            self._channels = channels
            self._rest = np.empty((0, channels), dtype=np.float32)
        self._graph = _graph(layout, sample_format, rate_hz)

    def add(self, frame: AudioFrame) -> None:
        """Take the next frame; its time stamp is None, as the resampler wants it."""
        if self._graph is not None:
            self._graph.push(frame)
            self._take(self._graph)

    def end_format(self) -> None:
        """Take what the resampler still holds."""
        if self._graph is not None:
            self._graph.push(None)
            self._take(self._graph)
            self._graph = None

    def finish(self) -> None:
        """Write what is left of a step; the file then holds nothing else."""
        if len(self._rest):
            self._out.write(np.square(self._rest).mean(axis=0, dtype=np.float32).tobytes())
        self._out.truncate()

    def _take(self, graph: Graph) -> None:
        for samples in _pulled(graph):
            found = np.zeros((len(samples), self._channels), dtype=np.float32)
            shared = min(self._channels, samples.shape[1])
            found[:, :shared] = np.nan_to_num(samples[:, :shared], nan=0, posinf=0, neginf=0)
            whole = np.concatenate([self._rest, found])
            steps = len(whole) // STEP
            blocks = whole[: steps * STEP].reshape(steps, STEP, self._channels)
            self._out.write(np.square(blocks).mean(axis=1, dtype=np.float32).tobytes())
            self._rest = whole[steps * STEP :]


def _graph(layout: str, sample_format: str, rate_hz: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    chain = (
        graph.add(
            "abuffer",
            sample_rate=str(rate_hz),
            sample_fmt=sample_format,
            channel_layout=layout,
            time_base=f"1/{rate_hz}",
        ),
        graph.add("aresample"),
        graph.add("aformat", sample_fmts="flt", sample_rates=str(SAMPLE_RATE_HZ)),
    )
    graph.link_nodes(*chain, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[Floats]:
    """Yield samples as rows of channels."""
    while True:
        try:
            frame = cast(AudioFrame, graph.pull())
        except (NothingYet, EOFError):
            return
        channels = frame.layout.nb_channels
        plane = memoryview(frame.planes[0])
        values = np.frombuffer(plane, dtype=np.float32, count=frame.samples * channels)
        yield values.reshape(-1, channels)
