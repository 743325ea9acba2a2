"""Makes audio files byte by byte, and with the ffmpeg command, for the audio tests."""

import json
import struct
import subprocess
import wave
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DEMO = Path(str(files("whisper_router_engines.whispercpp") / "demo"))
SAMPLES = DEMO / "samples"


def sample_facts() -> list[dict]:
    """What is known of each bundled sample."""
    return json.loads((DEMO / "samples.json").read_text(encoding="utf-8"))


def tone(duration_s: float, rate_hz: int, *, hz: float = 440.0, level: float = 0.5) -> Floats:
    """A sine, mono."""
    times = np.arange(int(duration_s * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def wav(
    samples: Floats,
    rate_hz: int,
    *,
    kind: str = "s16",
    data_bytes: int | None = None,
) -> bytes:
    """A WAV file of `samples` (frames, or frames by channels).

    `kind` is u8, s16, s24, s32, f32 or f64; `data_bytes` overrides the size the header states.
    """
    frames = samples if samples.ndim == 2 else samples[:, None]
    content = _pcm(frames, kind)
    bits = int(kind[1:])
    channels = frames.shape[1]
    block = channels * bits // 8
    stated = len(content) if data_bytes is None else data_bytes
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(stated + 36, 0xFFFFFFFF), b"WAVE", b"fmt ", 16),
        *(3 if kind[0] == "f" else 1, channels, rate_hz, rate_hz * block, block, bits),
        *(b"data", stated),
    )
    return header + content


def _pcm(frames: Floats, kind: str) -> bytes:
    match kind:
        case "u8":
            return (frames * 127 + 128).astype(np.uint8).tobytes()
        case "s16":
            return (frames * 32767).astype("<i2").tobytes()
        case "s24":
            wide = (frames * 8388607).astype("<i4").reshape(-1, 1).view(np.uint8)
            return wide[:, :3].tobytes()
        case "s32":
            return (frames.astype(np.float64) * 2147483647).astype("<i4").tobytes()
        case "f32":
            return frames.astype("<f4").tobytes()
        case "f64":
            return frames.astype("<f8").tobytes()
    raise ValueError(kind)


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg command."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


FLAC_BLOCK = 65_535
FLAC_RATE_HZ = 1_000


def flac_of_silence(duration_s: float) -> bytes:
    """A FLAC file of constant zeros: 14 bytes for each 65 seconds (RFC 9639)."""
    total = int(duration_s * FLAC_RATE_HZ)
    info = struct.pack(">HH", FLAC_BLOCK, FLAC_BLOCK) + bytes(6)
    info += ((FLAC_RATE_HZ << 44) | (15 << 36) | total).to_bytes(8, "big") + bytes(16)
    frames = [_flac_frame(number) for number in range(total // FLAC_BLOCK)]
    return b"fLaC\x80\x00\x00\x22" + info + b"".join(frames)


def _flac_frame(number: int) -> bytes:
    header = b"\xff\xf8\x70\x00" + _coded_number(number) + (FLAC_BLOCK - 1).to_bytes(2, "big")
    frame = header + bytes([_crc(header, 0x07, 8)]) + b"\x00\x00\x00"  # a constant of zero
    return frame + _crc(frame, 0x8005, 16).to_bytes(2, "big")


def _coded_number(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")  # FLAC numbers frames in UTF-8's way


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top, mask = 0, 1 << (bits - 1), (1 << bits) - 1
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ polynomial if value & top else value << 1) & mask
    return value


def amr(source: Path, target: Path) -> Path:
    """An AMR-NB file of `source`, which Debian's ffmpeg cannot write but PyAV can."""
    with av.open(source) as speech, av.open(target, "w") as out:
        stream = out.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        for frame in speech.decode(audio=0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return target


def floats_of(path: Path) -> Floats:
    """The samples of a 16-bit mono WAV file, between -1 and 1, read without any decoder."""
    with wave.open(str(path)) as file:
        content = file.readframes(file.getnframes())
    return np.frombuffer(content, dtype="<i2").astype(np.float32) / 32768


def loudness(samples: Floats) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def mkv_of_one_packet(path: Path, *, size_bytes: int) -> None:
    """A Matroska file whose only packet holds that many bytes of PCM silence."""
    with av.open(path, "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        packet = av.Packet(bytes(size_bytes))
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        packet.time_base = Fraction(1, 16_000)
        out.mux(packet)


def mp4_of_many_samples(count: int) -> bytes:
    """2.5 kB of MP4 whose tables claim `count` AAC frames (ISO/IEC 14496-12, 8.7)."""
    entry = bytes(6) + struct.pack(">H8xHHII", 1, 1, 16, 0, 16_000 << 16)
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"mp4a", entry)),
        _box(b"stts", struct.pack(">IIII", 0, 1, count, 1024)),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, count, 1)),
        _box(b"stsz", struct.pack(">III", 0, 1, count)),
        _box(b"stco", struct.pack(">III", 0, 1, 600)),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 16_000, 16_000, 0x55C4, 0)),
        _box(b"hdlr", bytes(8) + b"soun" + bytes(13)),
        _box(b"minf", table),
    )
    track = _box(b"trak", _box(b"tkhd", struct.pack(">IIIIII60x", 3, 0, 0, 1, 0, 1000)), media)
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isom")
    return kind + _box(b"moov", track) + _box(b"mdat", bytes(2000))


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body
