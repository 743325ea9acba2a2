"""The harness that runs an engine's process for a test."""

import array
import wave
from pathlib import Path

import pytest

from support.speech import DEMO_MODEL, floats, sample
from whisper_router.engine_api import EndpointKind
from whisper_router.testing.harness import (
    EngineDidNotStartError,
    make_endpoint,
    running,
    start_error,
    write_spool,
)
from whisper_router_engines.whispercpp.engine import WhisperCpp
from whisper_router_engines.whispercpp.options import WhisperCppOptions


def test_a_wav_becomes_the_same_samples(tmp_path):
    """Bit for bit what a decoder gives, as often as asked."""
    path = sample("en_hello_gb").path
    chunk = write_spool(path, tmp_path / "a.f32", repeat=2)
    once = array.array("f", floats(path).tobytes())
    assert chunk.path.read_bytes() == once.tobytes() * 2
    assert (chunk.start, chunk.end) == (0, 2 * len(once))


def test_another_rate_is_refused(tmp_path):
    """A plugin author learns it at once, not from strange words."""
    path = tmp_path / "fast.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(bytes(100))
    with pytest.raises(ValueError, match="16 kHz"):
        write_spool(path, tmp_path / "a.f32")


def test_endpoints_are_of_the_kind_that_was_asked_for(tmp_path):
    """A socket inside the folder, or a loopback port."""
    unix = make_endpoint(EndpointKind.UNIX, tmp_path)
    assert unix.socket is not None
    assert unix.socket.parent == tmp_path
    assert make_endpoint(EndpointKind.TCP, tmp_path).url.startswith("http://127.0.0.1:")


async def test_a_process_that_cannot_start_says_why():
    """Its stderr is in the exception."""
    missing = Path("/no/such/model.bin")
    with pytest.raises(EngineDidNotStartError, match=r"error: /no/such/model\.bin"):
        async with running(WhisperCpp(), missing, WhisperCppOptions()):
            pass


async def test_a_process_that_should_not_start_is_told():
    """`start_error` is no way to pass by accident."""
    with pytest.raises(AssertionError, match="serves"):
        await start_error(WhisperCpp(), DEMO_MODEL, WhisperCppOptions())
