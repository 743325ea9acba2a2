"""Form fields → order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.forms import Granularity, Order, ResponseFormat, parse_order
from whisper_router.domain import DecodingOptions, Task
from whisper_router.errors import InvalidParameter, MissingParameter, RouterError

MODEL = ("model", "whisper-1")
VERBOSE = ("response_format", "verbose_json")


def transcription(*fields: tuple[str, str]) -> Order:
    return parse_order([MODEL, *fields], task=Task.TRANSCRIBE)


def translation(*fields: tuple[str, str]) -> Order:
    return parse_order([MODEL, *fields], task=Task.TRANSLATE)


def refusal(*fields: tuple[str, str], task: Task = Task.TRANSCRIBE) -> InvalidParameter:
    with pytest.raises(InvalidParameter) as caught:
        parse_order([MODEL, *fields], task=task)
    return caught.value


def test_a_form_with_nothing_but_a_model_has_the_defaults():
    """json, the language detected, everything else left to the alias."""
    order = parse_order([MODEL], task=Task.TRANSCRIBE, request_id="req_1")
    assert order.request.model == "whisper-1"
    assert order.request.request_id == "req_1"
    assert order.request.language is None
    assert order.request.vad is None
    assert order.request.decoding == DecodingOptions()
    assert not order.request.word_timestamps
    assert order.response.response_format is ResponseFormat.JSON
    assert not order.response.stream


@pytest.mark.parametrize("fields", [[], [("model", "")], [("model", "  ")], [("model[]", "x")]])
def test_a_form_without_a_model_is_refused(fields: list[tuple[str, str]]):
    """Contract case 61."""
    with pytest.raises(MissingParameter) as caught:
        parse_order(fields, task=Task.TRANSCRIBE)
    assert caught.value.param == "model"
    assert caught.value.code == "missing_required_parameter"


@pytest.mark.parametrize("wanted", list(ResponseFormat))
def test_every_format_is_accepted_for_every_model(wanted: ResponseFormat):
    """The router renders, so that the model does not matter."""
    assert transcription(("response_format", wanted)).response.response_format is wanted
    if wanted is not ResponseFormat.DIARIZED_JSON:
        assert translation(("response_format", wanted)).response.response_format is wanted


@pytest.mark.parametrize(
    "fields",
    [
        [("timestamp_granularities[]", "word")],
        [("timestamp_granularities", "word")],
        [("timestamp_granularities[0]", "word")],
        [("timestamp_granularities", '["word"]')],
    ],
)
def test_granularities_are_honoured_in_every_spelling(fields: list[tuple[str, str]]):
    """Contract cases 28 and 43."""
    order = transcription(VERBOSE, *fields)
    assert order.response.granularities == {Granularity.WORD}
    assert order.request.word_timestamps


def test_both_granularities_may_be_asked_for():
    """Contract case 29."""
    order = transcription(VERBOSE, ("timestamp_granularities[]", "segment,word"))
    assert order.response.granularities == {Granularity.WORD, Granularity.SEGMENT}


def test_segments_are_the_default_granularity():
    """Contract case 27."""
    assert transcription(VERBOSE).response.granularities == {Granularity.SEGMENT}
    assert not transcription(VERBOSE).request.word_timestamps


def test_granularities_need_verbose_json():
    """Contract case 65; the code is null, as upstream."""
    error = refusal(("timestamp_granularities[]", "segment"))
    assert (error.param, error.code) == ("timestamp_granularities[]", None)


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("response_format", "yaml", "response_format"),
        ("response_format", "JSON", "response_format"),
        ("temperature", "2", "temperature"),
        ("temperature", "-0.1", "temperature"),
        ("temperature", "nan", "temperature"),
        ("temperature", "warm", "temperature"),
        ("language", "not-a-language", "language"),
        ("languages[]", "xx", "languages"),
        ("chunking_strategy", "sometimes", "chunking_strategy"),
        ("chunking_strategy", "{", "chunking_strategy"),
        ("chunking_strategy", '{"type":"semantic"}', "chunking_strategy"),
        ("chunking_strategy", '{"threshold":0.5}', "chunking_strategy"),
        ("chunking_strategy", '{"type":"server_vad","x":1}', "chunking_strategy"),
        ("chunking_strategy", '{"type":"server_vad","threshold":2}', "chunking_strategy"),
        ("chunking_strategy", '{"type":"server_vad","threshold":true}', "chunking_strategy"),
        ("chunking_strategy", '{"type":"server_vad","threshold":NaN}', "chunking_strategy"),
        ("chunking_strategy", '{"type":"server_vad","prefix_padding_ms":"x"}', "chunking_strategy"),
        ("chunking_strategy[type]", "auto", "chunking_strategy"),
        ("chunking_strategy[speed]", "1", "chunking_strategy"),
        ("include[]", "everything", "include"),
        ("stream", "maybe", "stream"),
        ("vad", "2", "vad"),
        ("vad_filter", "2", "vad_filter"),
        ("keywords[]", "<b>", "keywords"),
        ("keywords[]", "two\nlines", "keywords"),
        ("beam_size", "0", "beam_size"),
        ("best_of", "9", "best_of"),
        ("temperature_inc", "0.000000001", "temperature_inc"),
        ("temperature_increment", "2", "temperature_inc"),
        ("suppress_nst", "x", "suppress_nst"),
        ("no_speech_thold", "1.1", "no_speech_threshold"),
        ("known_speaker_names[]", '["a","b","c","d","e"]', "known_speaker_names"),
        ("known_speaker_references[]", "data:audio/wav;base64,AA==", "known_speaker_references"),
    ],
)
def test_values_that_are_never_acceptable_are_refused(field: str, value: str, param: str):
    """Contract cases 63, 64, 72, 73, 74 and 77; 400 with the field's name."""
    error = refusal((field, value))
    assert error.status == 400
    assert error.param == param
    assert error.code == "invalid_value"


def test_an_unknown_granularity_is_refused():
    """Contract case 66."""
    error = refusal(VERBOSE, ("timestamp_granularities[]", "phrase"))
    assert (error.param, error.code) == ("timestamp_granularities[]", "invalid_value")


def test_translations_have_no_diarized_json():
    """Contract case 103."""
    error = refusal(("response_format", "diarized_json"), task=Task.TRANSLATE)
    assert (error.status, error.param, error.code) == (400, "response_format", "unsupported_value")


@pytest.mark.parametrize("wanted", ["srt", "vtt", "verbose_json"])
@pytest.mark.parametrize("task", list(Task))
def test_subtitles_and_verbose_json_do_not_stream(wanted: str, task: Task):
    """Row `stream` of the contract; the SDKs would read such a stream as nothing."""
    error = refusal(("stream", "true"), ("response_format", wanted), task=task)
    assert (error.param, error.code) == ("stream", "unsupported_value")


@pytest.mark.parametrize("wanted", ["json", "text", "diarized_json"])
def test_json_and_text_stream(wanted: str):
    """Contract case 80."""
    assert transcription(("stream", "True"), ("response_format", wanted)).response.stream


def test_stream_false_means_a_plain_answer():
    """Contract case 53."""
    assert not transcription(("stream", "false"), VERBOSE).response.stream


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"), ("EN", "en"), ("English", "en"), ("pt-BR", "pt"), ("zh_cn", "zh"),
        ("zh-hk", "zh"), ("german", "de"), ("auto", None), ("", None), ("yue", "yue"),
    ],
)  # fmt: skip
def test_languages_are_read_as_codes_names_and_regions(text: str, code: str | None):
    """Contract case 34, and what people type."""
    assert transcription(("language", text)).request.language == code


def test_one_entry_in_languages_is_the_language_and_several_are_detected():
    """Contract case 47: a hint of two cannot be given to the engine."""
    assert transcription(("languages[]", "de")).request.language == "de"
    assert transcription(("languages[]", "de"), ("languages[]", "fr")).request.language is None
    assert transcription(("language", "en"), ("languages[]", "fr")).request.language == "en"


def test_a_translation_ignores_english_as_the_language_of_the_speech():
    """Who sends it there means the target; another language is taken as a hint."""
    assert translation(("language", "en")).request.language is None
    assert translation(("language", "de")).request.language == "de"


def test_a_translation_ignores_fields_that_it_does_not_have():
    """Granularities and log probabilities; a stream is our extension."""
    order = translation(
        ("include[]", "logprobs"), ("timestamp_granularities[]", "word"), ("stream", "true")
    )
    assert order.request.task is Task.TRANSLATE
    assert not order.request.logprobs
    assert not order.request.word_timestamps
    assert order.response.stream


@pytest.mark.parametrize(
    ("fields", "vad"),
    [
        ([("chunking_strategy", "auto")], None),
        ([("chunking_strategy", '"auto"')], None),
        ([("chunking_strategy", "none")], False),
        ([("chunking_strategy", '{"type":"server_vad","threshold":0.4}')], True),
        ([("chunking_strategy", '{"type":"server_vad","silence_duration_ms":null}')], True),
        ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "1")], True),
        ([("vad", "false")], False),
        ([("vad", "true"), ("chunking_strategy", "none")], True),
        ([("vad", "false"), ("chunking_strategy[type]", "server_vad")], False),
    ],
)
def test_the_chunking_strategy_decides_on_voice_activity(
    fields: list[tuple[str, str]], vad: bool | None
):
    """Contract cases 37, 38 and 39, and the extension `vad`, which is the plainer word."""
    assert transcription(*fields).request.vad is vad


def test_prompt_and_keywords_reach_the_request():
    """Contract cases 35 and 47; `hotwords` is the name that other servers use."""
    order = transcription(
        ("prompt", " Names: Ines. "), ("keywords[]", "Ines, J."), ("hotwords", "alpha, bravo")
    )
    assert order.request.prompt == " Names: Ines. "
    assert order.request.hotwords == ("Ines, J.", "alpha", "bravo")


def test_decoding_options_are_read_under_our_names_and_under_those_of_whisper_cpp():
    """Contract case 36, and the extensions."""
    order = transcription(
        ("temperature", "0.5"),
        ("temperature_inc", "0"),
        ("beam_size", "5"),
        ("best_of", "2"),
        ("entropy_thold", "2.4"),
        ("logprob_threshold", "-1"),
        ("no_speech_thold", "0.6"),
        ("suppress_nst", "true"),
    )
    assert order.request.decoding == DecodingOptions(
        temperature=0.5,
        temperature_increment=0.0,
        beam_size=5,
        best_of=2,
        entropy_threshold=2.4,
        logprob_threshold=-1.0,
        no_speech_threshold=0.6,
        suppress_nst=True,
    )


def test_log_probabilities_are_included_on_request():
    """Contract case 40."""
    assert transcription(("include[]", "logprobs")).request.logprobs
    assert not transcription().request.logprobs


def test_a_stream_may_end_with_the_whole_answer():
    """Our extension: it costs no second run. Answers that do not stream have their format."""
    wanted, words = ("include[]", "verbose_json"), ("timestamp_granularities[]", "word")
    form = [("model", "x"), ("stream", "true"), wanted]
    streamed = parse_order([*form, words], task=Task.TRANSCRIBE)
    assert streamed.response.verbose
    assert streamed.request.word_timestamps
    assert not parse_order(form, task=Task.TRANSCRIBE).request.word_timestamps
    plain = parse_order([("model", "x"), wanted], task=Task.TRANSCRIBE)
    assert not plain.response.verbose
    assert not plain.request.word_timestamps
    translated = parse_order([*form, words], task=Task.TRANSLATE)
    assert translated.response.verbose
    assert not translated.request.word_timestamps


def test_unknown_fields_and_four_speakers_are_ignored():
    """Contract cases 41 and 49."""
    speakers = [("known_speaker_names[]", name) for name in "abcd"]
    references = [("known_speaker_references[]", "data:audio/wav;base64,AA==")] * 4
    assert transcription(("foo", "1"), ("a[b][c]", "x"), *speakers, *references) == transcription()


KNOWN = [
    "model", "language", "languages[]", "keywords[]", "prompt", "response_format", "temperature",
    "timestamp_granularities[]", "include[]", "stream", "chunking_strategy",
    "chunking_strategy[type]", "known_speaker_names[]", "vad", "beam_size", "entropy_thold",
]  # fmt: skip
SPICE = ["", "1", "true", "[", "{", '{"type":"server_vad"}', "json", "verbose_json", "word", "en"]


@given(
    st.lists(
        st.tuples(st.sampled_from(KNOWN) | st.text(), st.sampled_from(SPICE) | st.text()),
        max_size=12,
    ),
    st.sampled_from(list(Task)),
)
def test_any_form_gives_an_order_or_a_clean_refusal(fields: list[tuple[str, str]], task: Task):
    """Never an exception that would be answered 500."""
    refusals: list[RouterError] = []
    try:
        parse_order(fields, task=task)
    except RouterError as error:
        refusals.append(error)
    assert all(error.status == 400 and error.param for error in refusals)


def test_mixed_languages_are_detected_whatever_else_is_named():
    """`languages[]` with one entry does not pin every chunk to it."""
    fields = [("model", "m"), ("language", "mixed"), ("languages[]", "de")]
    request = parse_order(fields, task=Task.TRANSCRIBE).request
    assert (request.language, request.mixed_languages) == (None, True)
