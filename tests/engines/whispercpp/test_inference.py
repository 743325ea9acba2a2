"""A model in this process: what single runs say."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from support.speech import DEMO_MODEL, floats, sample, samples
from support.whispercpp_ggml import as_english, as_f16, quantize_tool, random_model, read
from whisper_router.domain import Chunk, DecodingOptions, Lane, Task, TranscriptionRequest
from whisper_router_engines.whispercpp import inference
from whisper_router_engines.whispercpp.audio_context import MARGIN
from whisper_router_engines.whispercpp.ggml import ModelFileError
from whisper_router_engines.whispercpp.inference import Model, Setup
from whisper_router_engines.whispercpp.options import WhisperCppOptions
from whisper_router_engines.whispercpp.protocol import OrderError, order_json, parse_order

DIRECT = Path(__file__).parents[2] / "support" / "whispercpp_direct.py"
SINGLE_WINDOW = [found for found in samples() if found.channels == 1 and found.seconds <= 30]
OPTIONS = WhisperCppOptions()


def setup(**changes) -> Setup:
    options = OPTIONS.model_copy(update=changes)
    decoding = {name: getattr(options, name) for name in DecodingOptions.__dataclass_fields__}
    return Setup(
        threads=1,  # idle OpenMP threads of this process would spin
        gpu_index=None,
        flash_attn=options.flash_attn,
        dtw=options.dtw,
        audio_ctx=options.audio_ctx,
        live_margin=MARGIN if options.live_audio_ctx == "fitted" else None,
        max_context_tokens=options.max_context_tokens,
        decoding=DecodingOptions(**decoding),
    )


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with closing(Model(DEMO_MODEL, setup())) as loaded:
        yield loaded


def run(model: Model, folder: Path, audio: np.ndarray, **fields) -> list[dict]:
    path = folder / "audio.f32"
    audio.astype("<f4").tofile(path)
    chunk = Chunk(path=path, start=0, end=len(audio))
    events: list[dict] = []
    order = parse_order(order_json(chunk, TranscriptionRequest(model="x", **fields)))
    model.run(order, events.append, [])
    return events


def text(events: list[dict]) -> str:
    return "".join(event["text"] for event in events[1:]).strip()


@pytest.mark.parametrize("name", ["en_call_sign", "de_digits", "es_digits", "fr_digits"])
def test_language_and_words_of_each_language(model, tmp_path, name):
    """Detected, reported with its probability before the text, and understood."""
    spoken = sample(name)
    events = run(model, tmp_path, floats(spoken.path))
    assert events[0]["event"] == "language"
    assert events[0]["code"] == spoken.language
    assert 0.9 < events[0]["probability"] <= 1.0
    assert text(events) == spoken.text


def test_tokens_with_numerals_are_not_chosen(model, tmp_path, monkeypatch):
    """This model writes numbers as words: two of those stand for numerals here."""
    spoken = floats(sample("en_digits_fast").path)
    monkeypatch.setattr(inference, "NUMERALS", ".*(one|nine).*")
    whole, without = (
        text(run(model, tmp_path, spoken, decoding=DecodingOptions(suppress_numerals=suppress)))
        for suppress in (False, True)
    )
    assert whole == sample("en_digits_fast").text
    assert not {"one", "nine"} & set(without.split())


@pytest.mark.parametrize("name", ["de_digits", "es_digits", "fr_digits"])
def test_translation_is_english(model, tmp_path, name):
    """The language stays the one that was spoken."""
    spoken = sample(name)
    events = run(model, tmp_path, floats(spoken.path), task=Task.TRANSLATE)
    assert events[0]["code"] == spoken.language
    assert text(events) == spoken.translation


def test_text_equals_a_plain_pywhispercpp_call(model, tmp_path):
    """Same model, same samples, greedy: not a letter differs."""
    arguments = [f"{found.language}={found.path}" for found in SINGLE_WINDOW]
    command = [sys.executable, str(DIRECT), str(DEMO_MODEL), *arguments]
    output = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    for found, line in zip(SINGLE_WINDOW, output.splitlines(), strict=True):
        events = run(model, tmp_path, floats(found.path), language=found.language)
        assert [event["text"].strip() for event in events[1:]] == json.loads(line)


@pytest.mark.parametrize("language", [None, "en"])
def test_what_was_heard_before_changes_no_number(model, tmp_path, language):
    """The same audio gives the same events, whatever another request has sent meanwhile."""
    audio = floats(sample("en_two_speakers_long").path)[: 45 * 16_000]
    first = run(model, tmp_path, audio, language=language)
    run(model, tmp_path, floats(sample("en_three_segments").path), language=language)
    assert run(model, tmp_path, audio, language=language) == first


@pytest.fixture(scope="module")
def fitting() -> Iterator[Model]:
    """A model that encodes no more than a live window and a margin."""
    with closing(Model(DEMO_MODEL, setup(live_audio_ctx="fitted"))) as loaded:
        yield loaded


@pytest.mark.parametrize("found", SINGLE_WINDOW, ids=lambda found: found.path.stem)
def test_a_fitted_encoder_hears_what_the_whole_one_hears(model, fitting, tmp_path, found):
    """The same words at the same times, in a language that it finds itself."""
    audio, fields = floats(found.path), {"lane": Lane.LIVE, "word_timestamps": True}
    whole = run(model, tmp_path, audio, **fields)
    events = run(fitting, tmp_path, audio, **fields)
    assert not found.text or events[0]["code"] == found.language
    assert text(events) == text(whole)
    for segment, expected in zip(events[1:], whole[1:], strict=True):
        assert segment["start"] == pytest.approx(expected["start"], abs=0.1)
        assert segment["end"] == pytest.approx(expected["end"], abs=0.1)
        for word, other in zip(segment["words"], expected["words"], strict=True):
            assert word[1:3] == pytest.approx(other[1:3], abs=0.1)


@pytest.mark.parametrize("language", [None, "en"])
def test_windows_of_every_length_change_no_number_of_each_other(tmp_path, language):
    """Nor of a file: what whisper.cpp keeps of one encoder size is not read by the next one."""
    audio = floats(sample("en_two_speakers_long").path)[: 20 * 16_000]
    windows = [audio[: seconds * 16_000] for seconds in (1, 6, 14)]
    orders = [(audio, Lane.INTERACTIVE), *((window, Lane.LIVE) for window in windows)]
    firsts = []
    for heard, lane in orders:
        with closing(Model(DEMO_MODEL, setup(live_audio_ctx="fitted"))) as fresh:
            firsts.append(run(fresh, tmp_path, heard, language=language, lane=lane))
    with closing(Model(DEMO_MODEL, setup(live_audio_ctx="fitted"))) as used:
        for number in (3, 0, 1, 2, 3, 1, 0, 2, 0):
            heard, lane = orders[number]
            again = run(used, tmp_path, heard, language=language, lane=lane)
            assert again == firsts[number], number


def test_an_encoder_that_is_set_to_less_finds_the_first_language_in_less(tmp_path):
    """As it does every later one."""
    audio = floats(sample("en_three_segments").path)
    with closing(Model(DEMO_MODEL, setup(audio_ctx=400))) as less:
        first = run(less, tmp_path, audio)
        assert run(less, tmp_path, audio) == first


def test_silence_has_a_language_but_no_segments(model, tmp_path):
    """Nothing is made up, and no number is strange."""
    (language,) = run(model, tmp_path, np.zeros(48_000, np.float32))
    assert math.isfinite(language["probability"])


@pytest.mark.parametrize("count", [0, 1, 100, 1599, 1600, 1601])
def test_very_short_audio_is_empty(model, tmp_path, count):
    """whisper.cpp would read beyond the end of less than 201 samples."""
    events = run(model, tmp_path, np.zeros(count, np.float32), language="en")
    assert [event["event"] for event in events] == ["language"]


def test_segments_have_times_words_and_numbers(model, tmp_path):
    """Three phrases with pauses: three segments near where they are spoken."""
    spoken = sample("en_three_segments")
    events = run(model, tmp_path, floats(spoken.path), word_timestamps=True, logprobs=True)
    segments = events[1:]
    assert [s["text"] for s in segments] == [f" {t}" for _, _, t in spoken.segments]
    for found, (start, end, words) in zip(segments, spoken.segments, strict=True):
        assert found["start"] == pytest.approx(start, abs=0.1)
        assert found["end"] == pytest.approx(end, abs=0.1)
        assert [word[0] for word in found["words"]] == words.split()
        assert all(word[2] - word[1] > 0.03 for word in found["words"])
        assert found["seek"] == 0.0
        assert found["temperature"] == 0.0
        assert found["avg_logprob"] == pytest.approx(np.mean([t[1] for t in found["logprobs"]]))
        assert found["no_speech_prob"] < 0.1
        assert 0.3 < found["compression_ratio"] < 1.5


def test_seek_is_where_the_window_began(model, tmp_path):
    """The second window of a minute of speech begins where the first one's text ended."""
    events = run(model, tmp_path, floats(sample("en_two_speakers_long").path), language="en")
    seeks = sorted({event["seek"] for event in events[1:]})
    assert seeks[0] == 0.0
    assert len(seeks) >= 2
    assert all(25.0 < seek <= 60.0 for seek in seeks[1:])
    assert all(event["seek"] <= event["start"] for event in events[1:])


def test_the_temperature_after_fallback_is_reported(model, tmp_path):
    """An impossible threshold drives the decoder up to the last step."""
    decoding = DecodingOptions(logprob_threshold=1.0, temperature_increment=0.5, best_of=1)
    audio = floats(sample("en_call_sign").path)
    events = run(model, tmp_path, audio, language="en", decoding=decoding)
    assert {event["temperature"] for event in events[1:]} == {1.0}


def test_a_given_temperature_is_used_as_it_is(model, tmp_path):
    """No fallback from there, whatever the thresholds say."""
    decoding = DecodingOptions(temperature=0.4, logprob_threshold=1.0)
    audio = floats(sample("en_call_sign").path)
    events = run(model, tmp_path, audio, language="en", decoding=decoding)
    assert {event["temperature"] for event in events[1:]} == {0.4}


def test_beam_search_and_a_prompt_do_not_change_easy_words(model, tmp_path):
    """The options reach whisper.cpp and the model still hears."""
    spoken = sample("en_call_sign")
    decoding = DecodingOptions(beam_size=5, suppress_nst=True)
    events = run(
        model,
        tmp_path,
        floats(spoken.path),
        decoding=decoding,
        prompt="alpha bravo",
        hotwords=("seven",),
    )
    assert text(events) == spoken.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"language": "xx"}, "'xx'"),
        ({"language": "yue"}, "'yue'"),
    ],
)
def test_what_the_model_cannot_do_is_refused(model, tmp_path, fields, message):
    """A language that whisper.cpp does not know would silently become detection."""
    with pytest.raises(OrderError, match=message):
        run(model, tmp_path, np.zeros(16_000, np.float32), **fields)


def test_a_run_that_is_left_stops_early_and_the_model_serves_on(model, tmp_path):
    """The abort callback sees the list; the state is as good as new."""
    audio = np.tile(floats(sample("en_two_speakers_long").path), 4)
    path = tmp_path / "long.f32"
    audio.tofile(path)
    chunk = Chunk(path=path, start=0, end=len(audio))
    request = TranscriptionRequest(model="x", language="en")
    gone: list[bool] = []
    seen = []

    def leave_after_the_first(event: dict) -> None:
        seen.append(event)
        if event["event"] == "segment":
            gone.append(True)

    model.run(parse_order(order_json(chunk, request)), leave_after_the_first, gone)
    assert 2 <= len(seen) < 60
    spoken = sample("en_call_sign")
    assert text(run(model, tmp_path, floats(spoken.path))) == spoken.text


def test_an_error_in_the_listener_comes_out(model, tmp_path):
    """A broken connection must not travel through whisper.cpp's frames."""
    path = tmp_path / "a.f32"
    floats(sample("en_call_sign").path).tofile(path)
    chunk = Chunk(path=path, start=0, end=path.stat().st_size // 4)
    order = parse_order(order_json(chunk, TranscriptionRequest(model="x", language="en")))

    def broken(event: dict) -> None:
        if event["event"] == "segment":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        model.run(order, broken, [])


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q5_1"])
def test_other_quantisations_of_the_model_hear_the_same(tmp_path, kind):
    """The standard forms of a GGML file; `quantize.py` makes them."""
    path = as_f16(read(DEMO_MODEL)).write(tmp_path / "ggml-f16.bin")
    if kind != "f16":
        quantize_tool().quantize(path, tmp_path / "ggml.bin", kind)
        path = tmp_path / "ggml.bin"
    spoken = sample("de_digits")
    with closing(Model(path, setup())) as other:
        assert text(run(other, tmp_path, floats(spoken.path))) == spoken.text


def test_an_english_vocabulary_loads_and_knows_english_only(tmp_path):
    """`.en` and tdrz files: English is reported, anything else refused."""
    path = as_english(as_f16(read(DEMO_MODEL))).write(tmp_path / "ggml-small.en-tdrz.bin")
    audio = floats(sample("en_hello_gb").path)
    with closing(Model(path, setup())) as english:
        assert english.languages == ("en",)
        events = run(english, tmp_path, audio)
        assert events[0] == {"event": "language", "code": "en", "probability": 1.0}
        for param, fields in (
            ("language", {"language": "de"}),
            ("model", {"task": Task.TRANSLATE}),
        ):
            with pytest.raises(OrderError, match="English only") as caught:
                run(english, tmp_path, audio, **fields)
            assert caught.value.param == param


@pytest.mark.parametrize("audio_ctx", [0, 200])
def test_words_by_dtw_are_inside_the_audio(tmp_path, audio_ctx):
    """A random model of tiny's shape: what it says is nonsense, but it has a time.

    Also where the encoder computes no more than the window, or is set to less than the audio:
    whisper.cpp would abort there.
    """
    template = as_f16(read(DEMO_MODEL))
    path = random_model(template, width=384, layers=4, ends_at_once=False).write(
        tmp_path / "ggml-tiny.bin"
    )
    audio = floats(sample("en_three_segments").path)
    options = {"dtw": "auto", "temperature_increment": 0.0, "live_audio_ctx": "fitted"}
    options["audio_ctx"] = audio_ctx
    with closing(Model(path, setup(**options))) as timed:
        assert timed.dtw_preset == "tiny"
        for lane in (Lane.INTERACTIVE, Lane.LIVE):
            events = run(timed, tmp_path, audio, language="en", word_timestamps=True, lane=lane)
            edges = [edge for event in events[1:] for word in event["words"] for edge in word[1:3]]
            assert edges
            assert edges == sorted(edges)
            assert edges[0] >= 0.0
            assert edges[-1] <= len(audio) / 16_000


def test_a_file_with_a_tensor_too_few_is_named(tmp_path):
    """Whole records, but not all of them: whisper.cpp's own words are passed on."""
    whole = as_f16(read(DEMO_MODEL))
    path = tmp_path / "few.bin"
    type(whole)(
        hparams=whole.hparams,
        filters=whole.filters,
        vocabulary=whole.vocabulary,
        tensors=whole.tensors[:-1],
    ).write(path)
    with pytest.raises(ModelFileError, match=r"few\.bin"):
        Model(path, setup())
