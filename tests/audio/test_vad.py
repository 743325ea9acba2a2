"""Where speech is: the rule with made-up probabilities, the model with real sound."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.audio_files import SAMPLES, floats_of, sample_facts, tone
from whisper_router.audio.decode import decode
from whisper_router.audio.media import VadOptions
from whisper_router.audio.vad import WINDOW, WINDOW_S, SpeechDetector, is_silent, speech_spans

probabilities = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.35, 0.5, 1.0]), max_size=200)
options = st.builds(
    VadOptions,
    threshold=st.floats(0.2, 0.9),
    hysteresis=st.floats(0, 0.2),
    min_speech_s=st.floats(0, 0.5),
    min_silence_s=st.floats(0, 1),
    pad_s=st.floats(0, 0.5),
)


def spans_of(windows, vad=None, *, duration_s=None):
    """Spans as pairs."""
    length_s = len(windows) * WINDOW_S if duration_s is None else duration_s
    found = speech_spans(windows, vad or VadOptions(), duration_s=length_s)
    return [(span.start_s, span.end_s) for span in found]


@given(windows=probabilities, vad=options, lost=st.floats(0, 0.999))
def test_spans_are_in_order_inside_the_audio_and_do_not_overlap(windows, vad, lost):
    """Whatever the model says and however it is tuned."""
    duration_s = max(0.0, (len(windows) - lost) * WINDOW_S)
    spans = spans_of(windows, vad, duration_s=duration_s)
    assert all(0 <= start < end <= duration_s for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@given(windows=probabilities, vad=options)
def test_all_windows_over_the_threshold_are_in_a_span_unless_too_short(windows, vad):
    """With no least length nothing that sounds like speech is lost."""
    keep_all = VadOptions(
        threshold=vad.threshold,
        hysteresis=vad.hysteresis,
        min_speech_s=0,
        min_silence_s=vad.min_silence_s,
        pad_s=vad.pad_s,
    )
    spans = spans_of(windows, keep_all)
    for index, probability in enumerate(windows):
        middle_s = (index + 0.5) * WINDOW_S
        inside = any(start <= middle_s <= end for start, end in spans)
        assert inside or probability < vad.threshold


@given(windows=probabilities, vad=options)
def test_no_window_over_the_threshold_means_no_span(windows, vad):
    """Noise under the threshold opens nothing."""
    assert spans_of([min(p, vad.threshold - 0.01) for p in windows], vad) == []


@given(windows=probabilities, vad=options)
def test_what_is_far_from_speech_is_in_no_span(windows, vad):
    """Padding reaches `pad_s` and no further; pauses are bridged up to `min_silence_s`."""
    reach = vad.pad_s + vad.min_silence_s + 2 * WINDOW_S
    loud = [i * WINDOW_S for i, p in enumerate(windows) if p >= vad.threshold - vad.hysteresis]
    for start, end in spans_of(windows, vad):
        for time_s in (start, end):
            assert min(abs(time_s - near) for near in loud) <= reach


def test_short_pauses_are_bridged_and_long_ones_end_a_span():
    """0.5 s of silence is 16 windows."""
    vad = VadOptions(pad_s=0)
    assert len(spans_of([1.0] * 10 + [0.0] * 15 + [1.0] * 10, vad)) == 1
    first, second = spans_of([1.0] * 10 + [0.0] * 20 + [1.0] * 10, vad)
    assert first == pytest.approx((0, 10 * WINDOW_S))
    assert second == pytest.approx((30 * WINDOW_S, 40 * WINDOW_S))


def test_probabilities_between_the_thresholds_neither_begin_nor_end_speech():
    """Hysteresis: 0.4 is not enough to begin at 0.5, and too much to end at 0.35."""
    vad = VadOptions(pad_s=0)
    assert spans_of([0.4] * 100, vad) == []
    assert spans_of([1.0] * 5 + [0.4] * 95, vad) == [(0, pytest.approx(100 * WINDOW_S))]


def test_bursts_shorter_than_the_least_speech_are_dropped():
    """A click of two windows is not a word; four are."""
    silence = [0.0] * 30
    assert spans_of([*silence, 1.0, 1.0, *silence]) == []
    assert len(spans_of([*silence, 1.0, 1.0, 1.0, 1.0, *silence])) == 1


def test_padding_is_shared_where_spans_are_close():
    """Neighbours meet in the middle of the gap."""
    vad = VadOptions(min_silence_s=0.1, pad_s=10)
    first, second = spans_of([0.0] * 10 + [1.0] * 10 + [0.0] * 10 + [1.0] * 10, vad)
    assert first == pytest.approx((0, 25 * WINDOW_S))
    assert second == pytest.approx((25 * WINDOW_S, 40 * WINDOW_S))


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    """The model."""
    return SpeechDetector()


def samples_of(facts, tmp_path):
    target = tmp_path / "target.f32"
    decode(SAMPLES / facts["file"], target, pcm=None, max_duration_s=600)
    return np.fromfile(target, dtype=np.float32)


@pytest.mark.parametrize("facts", sample_facts(), ids=lambda facts: facts["file"])
def test_every_bundled_sample_keeps_all_its_words(detector, tmp_path, facts):
    """No segment begins before its span or ends after it; silence has none."""
    spans = detector.speech(samples_of(facts, tmp_path), VadOptions())
    for segment in facts["segments"]:
        assert any(
            span.start_s <= segment["start"] + 0.02 and span.end_s >= segment["end"] - 0.02
            for span in spans
        ), segment
    assert bool(spans) == bool(facts["segments"])


def test_silence_between_words_is_left_out(detector):
    """Three segments with pauses over a second are three spans."""
    spans = detector.speech(floats_of(SAMPLES / "en_three_segments.wav"), VadOptions())
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
    assert not detector.speech(sound.astype(np.float32), VadOptions())


def test_stretches_side_by_side_find_the_speech_of_a_single_pass(detector):
    """Batching moves an edge by two windows at most, and loses or invents nothing."""
    samples = floats_of(SAMPLES / "en_two_speakers_long.wav")
    count = -(-len(samples) // WINDOW)
    single = spans_of(detector._run(samples, count, 1).tolist())
    batched = spans_of(detector.probabilities(samples).tolist())
    assert len(batched) == len(single) > 15
    np.testing.assert_allclose(batched, single, atol=2 * WINDOW_S + 0.001)


@pytest.mark.parametrize("length", [1, 511, 512, 513, 70_000, 200_001])
def test_there_is_a_probability_for_each_begun_window(detector, length):
    """The last window is padded, and two runs agree: no state is kept."""
    samples = floats_of(SAMPLES / "en_two_speakers_long.wav")[:length]
    first, again = detector.probabilities(samples), detector.probabilities(samples)
    assert len(first) == -(-length // WINDOW)
    np.testing.assert_array_equal(first, again)


def test_digital_silence_is_recognised_without_the_model(detector):
    """An hour of zeros takes next to no time; dither of a bit is silence too, faint speech not."""
    hour = np.zeros(3600 * 16_000, dtype=np.float32)
    began = time.perf_counter()
    assert not detector.speech(hour, VadOptions())
    assert time.perf_counter() - began < 2
    dither = np.random.default_rng(1).integers(-1, 2, 16_000).astype(np.float32) / 32768
    assert is_silent(dither)
    assert not is_silent(floats_of(SAMPLES / "en_hello_gb.wav") / 100)
