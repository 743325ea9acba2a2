"""Chunks as WAV files."""

import io
import struct

import numpy as np
import pytest

from whisper_router.domain import Chunk
from whisper_router.errors import EngineRejected
from whisper_router_engines.wav import MIN_SAMPLES, check_chunk, wav


def spooled(folder, count: int):
    samples = np.linspace(-1, 1, count, dtype="<f4")
    path = folder / "audio.f32"
    samples.tofile(path)
    return path, samples


async def read(chunk: Chunk) -> tuple[dict[str, int], np.ndarray]:
    """Return the fields of the header, and the samples."""
    file = io.BytesIO(b"".join([piece async for piece in wav(chunk)]))
    riff, size, wave, fmt, fmt_size = struct.unpack("<4sI4s4sI", file.read(20))
    assert (riff, wave, fmt, size) == (b"RIFF", b"WAVE", b"fmt ", len(file.getvalue()) - 8)
    kind, channels, rate, _, align, bits = struct.unpack("<HHIIHH", file.read(fmt_size))
    name, data_size = struct.unpack("<4sI", file.read(8))
    data = file.read()
    assert (name, data_size) == (b"data", len(data))
    fields = {"kind": kind, "channels": channels, "rate": rate, "align": align, "bits": bits}
    return fields, np.frombuffer(data, "<f4")


async def test_a_chunk_is_16_khz_mono_float(tmp_path):
    """Of its samples and no others."""
    path, samples = spooled(tmp_path, 200_000)
    fields, found = await read(Chunk(path=path, start=1000, end=150_000))
    assert fields == {"kind": 3, "channels": 1, "rate": 16_000, "align": 4, "bits": 32}
    assert np.array_equal(found, samples[1000:150_000])


async def test_short_audio_is_padded_with_silence(tmp_path):
    """whisper.cpp ignores it otherwise."""
    path, samples = spooled(tmp_path, 100)
    _, found = await read(Chunk(path=path, start=0, end=100))
    assert len(found) == MIN_SAMPLES
    assert np.array_equal(found[:100], samples)
    assert not found[100:].any()


async def test_audio_that_is_cut_short_is_an_error(tmp_path):
    """And not silence."""
    path, _ = spooled(tmp_path, 100)
    with pytest.raises(EOFError):
        await read(Chunk(path=path, start=0, end=5000))


def test_audio_that_is_not_there_is_refused(tmp_path):
    """Before anything is sent."""
    path, _ = spooled(tmp_path, 100)
    check_chunk(Chunk(path=path, start=0, end=100))
    for chunk in (
        Chunk(path=path, start=0, end=101),
        Chunk(path=path, start=5, end=4),
        Chunk(path=tmp_path / "missing", start=0, end=1),
    ):
        with pytest.raises(EngineRejected):
            check_chunk(chunk)
