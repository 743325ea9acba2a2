"""Where speech is: the model with real sound."""

import time

import numpy as np
import pytest

from support.audio_files import SAMPLES, floats_of, sample_facts, tone
from whisper_router.audio.decode import decode
from whisper_router.audio.media import VadOptions
from whisper_router.audio.spans import BLOCK, WINDOW, WINDOW_S
from whisper_router.audio.vad import Listening, SpeechDetector, is_silent, powers


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    """The model."""
    return SpeechDetector()


def speech_in(detector, samples, vad=None):
    """Its stretches of speech."""
    listening = Listening(detector, vad or VadOptions())
    for begin in range(0, len(samples), BLOCK):
        listening.hear(samples[begin : begin + BLOCK])
    listening.spans.end(len(samples) / 16_000)
    return listening.spans.found().spans


def samples_of(facts, tmp_path):
    target = tmp_path / "target.f32"
    decode(SAMPLES / facts["file"], target, pcm=None, max_duration_s=600)
    return np.fromfile(target, dtype=np.float32)


@pytest.mark.parametrize("facts", sample_facts(), ids=lambda facts: facts["file"])
def test_every_bundled_sample_keeps_all_its_words(detector, tmp_path, facts):
    """No segment begins before its span or ends after it; silence has none."""
    spans = speech_in(detector, samples_of(facts, tmp_path))
    for segment in facts["segments"]:
        assert any(
            span.start_s <= segment["start"] + 0.02 and span.end_s >= segment["end"] - 0.02
            for span in spans
        ), segment
    assert bool(spans) == bool(facts["segments"])


def test_silence_between_words_is_left_out(detector):
    """Three segments with pauses over a second are three spans."""
    spans = speech_in(detector, floats_of(SAMPLES / "en_three_segments.wav"))
    assert len(spans) == 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "kind", ["white", "white, faint", "brown", "440 Hz", "touch tones", "hum", "clicks"]
)
def test_noise_and_tones_are_not_speech(detector, kind, seed):
    """An engine never sees them, so it cannot make words of them."""
    generator = np.random.default_rng(seed)
    times = np.arange(10 * 16_000) / 16_000
    white = generator.normal(0, 1, len(times))
    sound = {
        "white": 0.1 * white,
        "white, faint": 0.001 * white,
        "brown": np.cumsum(white) / 500,
        "440 Hz": tone(10, 16_000),
        "touch tones": tone(10, 16_000, hz=697) / 2 + tone(10, 16_000, hz=1209) / 2,
        "hum": tone(10, 16_000, hz=50),
        "clicks": (generator.random(len(times)) < 0.0005) * 0.9,
    }[kind]
    assert not speech_in(detector, sound.astype(np.float32))


def probabilities_of(detector, samples, *, stretches=None):
    """The probability of each window."""
    listening = Listening(detector, VadOptions())
    found = []
    for begin in range(0, len(samples), BLOCK):
        block = samples[begin : begin + BLOCK]
        if stretches is None:
            found.append(listening.probabilities(block))
        else:
            found.append(listening._run(block, -(-len(block) // WINDOW), stretches))
    return np.concatenate(found)


def test_stretches_side_by_side_find_the_speech_of_a_single_pass(detector):
    """Batching moves an edge by three windows at most, and loses or invents nothing."""
    samples = floats_of(SAMPLES / "en_two_speakers_long.wav")
    assert len(samples) > BLOCK

    def spans(probabilities):
        listening = Listening(detector, VadOptions())
        listening.spans.feed(probabilities.tolist(), powers(samples).tolist())
        listening.spans.end(len(samples) / 16_000)
        return [(span.start_s, span.end_s) for span in listening.spans.found().spans]

    single = spans(probabilities_of(detector, samples, stretches=1))
    batched = spans(probabilities_of(detector, samples))
    assert len(batched) == len(single) > 15
    np.testing.assert_allclose(batched, single, atol=3 * WINDOW_S + 0.001)


@pytest.mark.parametrize("length", [1, 511, 512, 513, 70_000, 200_001, BLOCK, BLOCK + 1])
def test_there_is_a_probability_for_each_begun_window(detector, length):
    """The last window is padded, and two runs agree: each begins anew."""
    samples = floats_of(SAMPLES / "en_two_speakers_long.wav")[:length]
    first, again = (probabilities_of(detector, samples) for _ in range(2))
    assert len(first) == -(-length // WINDOW)
    np.testing.assert_array_equal(first, again)


def test_a_block_goes_on_where_the_last_one_ended(detector):
    """A word across the border of two blocks is one stretch."""
    speech = floats_of(SAMPLES / "en_hello_gb.wav")
    around = speech_in(detector, np.concatenate([np.zeros(16_000, np.float32), speech]))
    before = BLOCK - len(speech) // 2
    samples = np.concatenate([np.zeros(before, np.float32), speech])
    across = speech_in(detector, samples)
    assert len(across) == len(around) == 1
    assert across[0].start_s - before / 16_000 == pytest.approx(around[0].start_s - 1, abs=0.1)


def test_powers_are_mean_squares_of_windows():
    """The last window is padded with silence."""
    found = powers(np.concatenate([np.full(WINDOW, 0.5), np.full(256, 1.0)]).astype(np.float32))
    np.testing.assert_allclose(found, [0.25, 0.5])


def test_digital_silence_is_recognised_without_the_model(detector):
    """An hour of zeros takes next to no time; dither of a bit is silence too, faint speech not."""
    hour = np.zeros(3600 * 16_000, dtype=np.float32)
    began = time.process_time()
    assert not speech_in(detector, hour)
    assert time.process_time() - began < 2
    dither = np.random.default_rng(1).integers(-1, 2, 16_000).astype(np.float32) / 32768
    assert is_silent(dither)
    assert not is_silent(floats_of(SAMPLES / "en_hello_gb.wav") / 100)
