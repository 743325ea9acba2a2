"""Chunks as WAV, for engines that are sent their audio."""

import asyncio
import os
import struct
from collections.abc import AsyncGenerator
from pathlib import Path

from whisper_router.domain import SAMPLE_RATE_HZ, Chunk
from whisper_router.errors import EngineRejected

PIECE_BYTES = 1 << 18
SAMPLE_BYTES = 4
MIN_SAMPLES = SAMPLE_RATE_HZ // 10
"""whisper.cpp ignores less than 0.1 s, and its padding reads beyond less than 201 samples."""
WAVE_FORMAT_IEEE_FLOAT = 3


def check_chunk(chunk: Chunk) -> None:
    """Look whether the samples are there. Touches the disk.

    Raises:
        EngineRejected: they are not.
    """
    try:
        size = os.stat(chunk.path).st_size  # noqa: PTH116 - told apart from a missing folder
    except OSError as error:
        raise EngineRejected(f"the audio cannot be read: {error.strerror}") from error
    if not 0 <= chunk.start <= chunk.end or size < SAMPLE_BYTES * chunk.end:
        raise EngineRejected(f"the audio ends before sample {chunk.end}")


async def wav(chunk: Chunk) -> AsyncGenerator[bytes]:
    """Yield the chunk as a WAV of 32-bit floats; short audio is padded with silence.

    Raises:
        EOFError: the file was cut short meanwhile.
    """
    missing = max(0, MIN_SAMPLES - (chunk.end - chunk.start))
    left = SAMPLE_BYTES * (chunk.end - chunk.start)
    yield _header(left + SAMPLE_BYTES * missing)
    at = SAMPLE_BYTES * chunk.start
    while left > 0:
        piece = await asyncio.to_thread(_read, chunk.path, at, min(left, PIECE_BYTES))
        if not piece:
            raise EOFError("the audio was cut short while it was sent")
        at, left = at + len(piece), left - len(piece)
        yield piece
    yield bytes(SAMPLE_BYTES * missing)


def _read(path: Path, at: int, size: int) -> bytes:
    """Read in a thread. The file is open for no longer: whoever waits may be cancelled."""
    with path.open("rb") as file:
        file.seek(at)
        return file.read(size)


def _header(data_bytes: int) -> bytes:
    """Return a RIFF header for 16 kHz mono float32 (RFC 2361; `fmt ` of 16 bytes)."""
    fmt = struct.pack(
        "<HHIIHH",
        WAVE_FORMAT_IEEE_FLOAT,
        1,
        SAMPLE_RATE_HZ,
        SAMPLE_RATE_HZ * SAMPLE_BYTES,
        SAMPLE_BYTES,
        8 * SAMPLE_BYTES,
    )
    head = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", len(head) + data_bytes) + head
