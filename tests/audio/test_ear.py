"""Speech in live audio, as it comes."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from support.audio_files import SAMPLES, floats_of
from support.blocking import no_blocking_calls
from whisper_router.audio.ear import Ears
from whisper_router.audio.spans import WINDOW


@pytest.fixture(scope="module")
def speech():
    """Seven seconds with three words in them, in whole windows."""
    samples = floats_of(SAMPLES / "en_three_segments.wav")
    return samples[: len(samples) // WINDOW * WINDOW]


@pytest.fixture
def ears():
    """A thread of its own."""
    ears = Ears()
    yield ears
    ears.close()


async def heard(ears, samples, cuts):
    ear, found = ears.open(), []
    for piece in np.split(samples, [cut * WINDOW for cut in cuts]):
        found += await ear.hear(piece)
    return found


async def test_how_the_audio_is_cut_does_not_matter(ears, speech):
    """Also where a piece begins or ends in silence, and for two ears at a time."""
    whole, fine, coarse = await asyncio.gather(
        heard(ears, speech, []),
        heard(ears, speech, range(1, len(speech) // WINDOW)),
        heard(ears, speech, [3, 70, 71, 150]),
    )
    assert whole == fine == coarse
    assert len(whole) == len(speech) // WINDOW
    assert max(whole) > 0.9
    assert whole[0] < 0.1


async def test_a_last_window_may_be_short(ears, speech):
    """As if silence followed."""
    cut = 100 * WINDOW + 77
    padded = np.concatenate((speech[:cut], np.zeros(WINDOW - 77, dtype=np.float32)))
    assert await ears.open().hear(speech[:cut]) == await ears.open().hear(padded)


async def test_nothing_means_nothing(ears):
    """No window, no probability; digital silence is no speech."""
    ear = ears.open()
    assert await ear.hear(np.zeros(0, dtype=np.float32)) == []
    assert await ear.hear(np.zeros(2 * WINDOW, dtype=np.float32)) == [0.0, 0.0]


async def test_the_loop_goes_on_meanwhile(ears, speech):
    """Also while the model is loaded."""
    with no_blocking_calls():
        await ears.open().hear(speech)


async def test_a_closed_thread_hears_nothing_more(ears, speech):
    """What it was doing is done."""
    ear = ears.open()
    last = asyncio.get_running_loop().create_task(ear.hear(speech))
    await asyncio.sleep(0)
    ears.close()
    assert len(await last) == len(speech) // WINDOW
    with pytest.raises(RuntimeError):
        await ear.hear(speech)


def test_the_library_is_not_loaded_before_somebody_speaks():
    """A router without live sessions does without it."""
    code = (
        "import sys; from whisper_router.audio.ear import Ears; Ears().open(); "
        "print('onnxruntime' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
