"""Decodes any audio file to 16 kHz mono float32. Runs in a media worker only: it imports PyAV.

FFmpeg is kept on a short lead: it reads the one open file that it is given and may open nothing
else (no protocol is allowed), and only demuxers of single-file formats may answer (so no playlist,
concatenation or image-sequence format).
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import BlockingIOError as NothingYet
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Discard

from whisper_router.audio.levels import LevelMeter
from whisper_router.audio.media import EXTENSIONS, MIN_DURATION_S, PcmFormat
from whisper_router.audio.spans import BLOCK
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import AudioTooLong, AudioTooShort, AudioUndecodable

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,loas,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,rm,shn,tak,truehd,tta,voc,w64,wav,webm,wv"
)
SAMPLE_BYTES = 4
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
READ_BYTES, PROBE_BYTES = 64 * 1024, 16 * 1024
Floats = npt.NDArray[np.float32]
_TOO_SHORT = "Audio file is too short. Minimum audio length is 0.1 seconds."
_RIFF = (b"RIFF", b"RIFX", b"RF64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What was decoded: `samples` at 16 kHz, and how the source stored them."""

    samples: int
    codec: str
    sample_rate_hz: int
    channels: int

    @property
    def duration_s(self) -> float:
        """How long the audio is."""
        return self.samples / SAMPLE_RATE_HZ


class Listener(Protocol):
    """Who is told of the audio while it is decoded."""

    def begin(self, expected_s: float | None) -> None:
        """Take note of how long the file says that it is; None: it does not say."""
        ...

    def hear(self, block: Floats) -> None:
        """Take the next `BLOCK` samples, or the last ones. They are in the target file already.

        `block` is written over afterwards.
        """
        ...


def decode(
    source: Path,
    target: Path,
    *,
    pcm: PcmFormat | None,
    max_duration_s: float,
    listener: Listener | None = None,
    levels: Path | None = None,
) -> Decoded:
    """Write the first audio stream of `source` to `target` as raw float32, channels averaged.

    The content decides what the file is; only raw PCM, which has no header, is named by `pcm`.
    Damaged packets are left out and gaps in the time stamps closed, as long as most of the file
    can be decoded. A `target` that exists is written over from its beginning, not emptied first:
    after a crash the same bytes are written once more, under the eyes of who reads them already.
    `levels` is a file for how loud each channel is (`audio.levels`).

    Raises:
        ChannelsUnusable: levels are wanted of audio with one channel, or too many.
        AudioUndecodable: it is not audio, or too damaged.
        AudioTooShort: it holds less than 0.1 s.
        AudioTooLong: it holds more than `max_duration_s`; `target` then has what came before.
        OSError: a file cannot be read or written.
        MemoryError: FFmpeg could not get the memory that the file asks for.
    """
    with source.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise AudioTooShort(_TOO_SHORT)
        with (
            _open(file, pcm) as container,
            _open_target(target) as out,
            nullcontext() if levels is None else _open_target(levels) as levels_out,
        ):
            writer = _Writer(
                out,
                listener,
                max_samples=int(max_duration_s * SAMPLE_RATE_HZ),
                meter=None if levels_out is None else LevelMeter(levels_out),
            )
            return _decode_stream(container, writer)


def undecodable(reason: str) -> AudioUndecodable:
    """Return the error that lists what is supported and says what was wrong with the file."""
    return AudioUndecodable(
        f"Invalid file format. Supported formats: {sorted(EXTENSIONS)}. "
        f"The file could not be decoded: {reason}."
    )


def _open_target(target: Path) -> BinaryIO:
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb")


def _open(file: BinaryIO, pcm: PcmFormat | None) -> InputContainer:
    options = {"protocol_whitelist": "none", "format_whitelist": DEMUXERS}
    if pcm is not None:
        options["format_whitelist"] = pcm.encoding.value
        options["sample_rate"] = str(pcm.rate_hz)
        options["ch_layout"] = f"{pcm.channels}C"
    elif file.read(4) in _RIFF:
        # FFmpeg looks for DTS and AC-3 inside WAV; on 10 s that takes thrice the decoding.
        options["max_probe_packets"] = "1"
        options["max_size"] = str(PROBE_BYTES)
    file.seek(0)
    try:
        return av.open(
            file,
            mode="r",
            format=pcm.encoding.value if pcm else None,
            container_options=options,
            metadata_errors="replace",
            buffer_size=READ_BYTES,
        )
    except MemoryError:
        raise
    except (FFmpegError, ValueError) as error:
        raise undecodable("it is no known audio container, or an incomplete one") from error


def _decode_stream(container: InputContainer, writer: "_Writer") -> Decoded:
    stream = _first_audio(container)
    writer.expect(container.duration / av.time_base if container.duration else None)
    packets = damaged = 0
    for frames in _packets(container, stream):
        packets += 1
        damaged += frames is None
        for frame in frames or ():
            writer.write(frame)
    for frame in _flushed(stream):
        writer.write(frame)
    writer.end_format()
    codec = stream.codec_context.name
    if 2 * damaged > packets:
        raise undecodable(f"{damaged} of {packets} packets of {codec} audio are damaged")
    if not packets and (container.duration or 0) >= MIN_DURATION_S * av.time_base:
        raise undecodable(f"none of its {codec} audio could be read")
    if writer.samples < MIN_DURATION_S * SAMPLE_RATE_HZ:
        raise AudioTooShort(_TOO_SHORT)
    writer.finish()
    return Decoded(
        samples=writer.samples,
        codec=codec,
        sample_rate_hz=writer.rate_hz,
        channels=writer.channels,
    )


def _first_audio(container: InputContainer) -> AudioStream:
    streams = container.streams.audio
    if not streams:
        raise undecodable("it has no audio stream")
    known = next((stream for stream in streams if _has_decoder(stream)), None)
    if known is None:
        raise undecodable("its audio codec is not supported")
    for other in container.streams:
        other.discard = Discard.default if other is known else Discard.all
    context = known.codec_context
    context.thread_count = 1
    layout = context.layout
    if "(" in layout.name:
        # PyAV 18.1 frees the channel map of a custom layout twice; this drops the context's copy.
        context.layout = AudioLayout(f"{layout.nb_channels} channels")
    return known


def _has_decoder(stream: AudioStream) -> bool:
    context: object | None = stream.codec_context  # PyAV's type leaves the None out
    return context is not None


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[list[AudioFrame] | None]:
    """Yield each packet's frames, None for a damaged packet; end where the file is cut."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except FFmpegError:  # cut or damaged container: what came before counts
            packet = None
        if packet is None:
            return
        if not packet.size:  # PyAV's sign to flush, or nothing to decode
            continue
        try:
            yield stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            yield None


def _flushed(stream: AudioStream) -> list[AudioFrame]:
    """Return what the decoder still holds."""
    try:
        return stream.codec_context.decode(None)
    except MemoryError:
        raise
    except FFmpegError:
        return []


class _Writer:
    """Resamples frames to the output file. A stream's format may change on its way."""

    def __init__(
        self,
        out: BinaryIO,
        listener: Listener | None,
        *,
        max_samples: int,
        meter: LevelMeter | None,
    ) -> None:
        self.samples = self.rate_hz = self.channels = 0
        self._meter = meter
        self._out, self._listener = out, listener
        self._max_samples = max_samples
        self._block: Floats = np.empty(BLOCK, dtype=np.float32)
        self._filled = 0
        self._graph: Graph | None = None
        self._shape: tuple[str, str, int] | None = None

    def expect(self, duration_s: float | None) -> None:
        """Tell the listener how long the audio may be."""
        if self._listener is not None:
            self._listener.begin(duration_s)

    def write(self, frame: AudioFrame) -> None:
        layout = frame.layout
        shape = (frame.format.name, layout.name, frame.sample_rate)
        if self._graph is None or shape != self._shape:
            self.end_format()
            self._graph, self._shape = _resampler(*shape, channels=layout.nb_channels), shape
            if self._meter is not None:
                self._meter.begin(*shape, channels=layout.nb_channels)
        if not self.channels:
            self.rate_hz, self.channels = frame.sample_rate, layout.nb_channels
        self._check_length(frame.samples * SAMPLE_RATE_HZ // frame.sample_rate)
        if self._meter is not None:
            self._meter.add(frame)
        self._resample(self._graph, frame)

    def end_format(self) -> None:
        """Take what the resampler still holds."""
        if self._graph is not None:
            self._resample(self._graph, None)
            self._graph = None
        if self._meter is not None:
            self._meter.end_format()

    def finish(self) -> None:
        """Write what is left; the file then holds nothing else."""
        if self._filled:
            self._pass_on()
        self._out.truncate()
        if self._meter is not None:
            self._meter.finish()

    def _resample(self, graph: Graph, frame: AudioFrame | None) -> None:
        graph.push(frame)
        while True:
            try:
                converted = cast(AudioFrame, graph.pull())
            except (NothingYet, EOFError):
                return
            samples = converted.samples
            self.samples += samples
            self._check_length(0)
            plane = memoryview(converted.planes[0])[: samples * SAMPLE_BYTES]
            self._fill(np.frombuffer(plane, dtype=np.float32))

    def _fill(self, samples: Floats) -> None:
        while len(samples):
            piece = samples[: BLOCK - self._filled]
            self._block[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            samples = samples[len(piece) :]
            if self._filled == BLOCK:
                self._pass_on()

    def _pass_on(self) -> None:
        """Write the block, with silence for NaN and infinities, which float files may hold.

        A single one would make the search for speech find none, and engines refuse the audio.
        """
        block, self._filled = self._block[: self._filled], 0
        block[~np.isfinite(block)] = 0
        self._out.write(block.data)
        self._out.flush()
        if self._listener is not None:
            self._listener.hear(block)

    def _check_length(self, coming: int) -> None:
        if self.samples + coming > self._max_samples:
            limit_s = self._max_samples / SAMPLE_RATE_HZ
            raise AudioTooLong(
                f"The audio is longer than the limit of {limit_s:g} seconds "
                "(setting 'audio.max_duration_s')."
            )


def _resampler(sample_format: str, layout: str, rate_hz: int, *, channels: int) -> Graph:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise undecodable(f"a sample rate of {rate_hz} Hz is not supported")
    graph = Graph()
    graph.threads = 1
    chain = [
        graph.add(
            "abuffer",
            sample_rate=str(rate_hz),
            sample_fmt=sample_format,
            channel_layout=layout,
            time_base=f"1/{rate_hz}",
        )
    ]
    if layout == f"{channels} channels" and channels > 2:
        # Nobody knows what they are. FFmpeg would take them for surround sound and drop one.
        terms = "+".join(f"{1 / channels:.9f}*c{index}" for index in range(channels))
        chain.append(graph.add("pan", f"mono|c0={terms}"))
    # Without rematrix_maxval stereo as float comes out 3 dB louder than its average.
    chain.append(graph.add("aresample", rematrix_maxval="1.0"))
    chain.append(
        graph.add(
            "aformat",
            sample_fmts="flt",
            channel_layouts="mono",
            sample_rates=str(SAMPLE_RATE_HZ),
        )
    )
    graph.link_nodes(*chain, graph.add("abuffersink")).configure()
    return graph
