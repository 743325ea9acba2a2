"""The audio API through the official client, whose types and exceptions are the contract."""

import asyncio
import io
import json
import math
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from yarl import URL

from support.api_app import GOOD, HELD, SAMPLES, Api, sample, sample_path

HELLO, THREE, SILENCE = "en_hello_gb.wav", "en_three_segments.wav", "silence.wav"
SEGMENT_FIELDS = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
    "compression_ratio", "no_speech_prob",
}  # fmt: skip


def client_of(api: Api, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=api.base_url,
        api_key="any",
        max_retries=0,
        timeout=10,
        _strict_response_validation=True,
        **options,
    )


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncOpenAI]:
    """A client that validates what it gets."""
    async with client_of(api) as client:
        yield client


@contextmanager
def deprecated() -> Iterator[None]:
    """Let the client say that translations are deprecated upstream."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def rejection(**fields: Any) -> dict[str, Any]:
    return {"file": sample_path(HELLO), "model": GOOD, **fields}


# Models


async def test_models_are_listed_in_strict_validation(client: AsyncOpenAI, api: Api):
    """Contract cases 1, 2 and 5; further keys of an entry are kept."""
    listed = (await client.models.list()).data
    assert [(model.id, model.object) for model in listed] == [
        ("whisper-1", "model"),
        ("org/model:q5", "model"),
    ]
    assert all(isinstance(model.created, int) and model.owned_by for model in listed)
    assert listed[0].model_dump()["state"] == "ready"


@pytest.mark.parametrize("name", ["whisper-1", "org/model:q5", "held"])
async def test_a_model_is_retrieved_by_its_id(client: AsyncOpenAI, name: str):
    """Contract case 3: an id with slashes and a colon, and one that is not listed."""
    assert (await client.models.retrieve(name)).id == name


@pytest.mark.parametrize("path", ["org/model:q5", "org%2Fmodel:q5", "org%2fmodel%3Aq5"])
@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_an_id_with_slashes_may_be_encoded_or_not(
    api: Api, http: aiohttp.ClientSession, prefix: str, path: str
):
    """`%2F` does not split the path."""
    async with http.get(URL(f"{api.root}{prefix}/models/{path}", encoded=True)) as answer:
        assert answer.status == 200
        assert (await answer.json())["id"] == "org/model:q5"


@pytest.mark.parametrize("name", ["no-such-model-zz", "a/b-zz", "ä ö"])
async def test_an_unknown_model_is_not_found(client: AsyncOpenAI, name: str):
    """Contract cases 4 and 6."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve(name)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert f"The model '{name}' does not exist" in str(caught.value)


async def test_models_cannot_be_deleted(client: AsyncOpenAI):
    """Contract case 7."""
    with pytest.raises(openai.PermissionDeniedError):
        await client.models.delete("org/model:q5")
    with pytest.raises(openai.NotFoundError):
        await client.models.delete("nothing")


# Transcriptions, plain answers


async def test_json_is_the_text_with_its_usage(client: AsyncOpenAI):
    """Contract cases 20, 21, 22 and 53."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(HELLO), model=GOOD, stream=False
    )
    assert answer.text == "hello world"
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == 2


async def test_the_synchronous_client_gets_the_same(api: Api):
    """Contract cases 16 and 44: the base URL may end with a slash."""

    def call() -> str:
        with (
            OpenAI(base_url=f"{api.base_url}/", api_key="any", max_retries=0) as client,
            sample_path(HELLO).open("rb") as file,
        ):
            return client.audio.transcriptions.create(file=file, model=GOOD).text

    assert await asyncio.to_thread(call) == "hello world"


@pytest.mark.parametrize("item", SAMPLES, ids=lambda item: item["file"])
async def test_text_is_the_json_text_and_a_newline(client: AsyncOpenAI, item: dict[str, Any]):
    """Contract case 23; accents come through."""
    path = sample_path(item["file"])
    text = await client.audio.transcriptions.create(file=path, model=GOOD, response_format="text")
    assert str(text) == item["text"] + "\n"


async def test_srt_and_vtt_hold_every_segment(client: AsyncOpenAI):
    """Contract cases 24 and 25."""
    create = client.audio.transcriptions.create
    srt = str(await create(file=sample_path(THREE), model=GOOD, response_format="srt"))
    vtt = str(await create(file=sample_path(THREE), model=GOOD, response_format="vtt"))
    assert re.findall(r"^\d+$", srt, re.MULTILINE) == ["1", "2", "3"]
    assert srt.startswith("1\n00:00:00,300 --> 00:00:01,260\nred green blue\n\n2\n")
    assert vtt.startswith("WEBVTT\n\n00:00:00.300 --> 00:00:01.260\nred green blue\n\n")


async def test_verbose_json_has_segments_by_default(client: AsyncOpenAI):
    """Contract cases 26, 27, 30 and 31."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(THREE), model=GOOD, response_format="verbose_json"
    )
    assert answer.language == "english"
    assert answer.duration == pytest.approx(6.92)
    assert answer.words is None
    assert answer.segments is not None
    assert "".join(segment.text for segment in answer.segments).strip() == answer.text
    raw = answer.model_dump()
    assert raw["task"] == "transcribe"
    assert all(set(segment) == SEGMENT_FIELDS for segment in raw["segments"])


async def test_word_granularity_gives_words_only(client: AsyncOpenAI):
    """Contract case 28."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(THREE),
        model=GOOD,
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    assert answer.words is not None
    assert [word.word for word in answer.words] == answer.text.split()
    assert answer.words[-1].end <= answer.duration
    assert "segments" not in answer.model_fields_set


async def test_both_granularities_give_both(client: AsyncOpenAI):
    """Contract case 29."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(THREE),
        model=GOOD,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.words
    assert answer.segments


@pytest.mark.parametrize(
    "file",
    [
        sample_path(HELLO).read_bytes(),
        io.BytesIO(sample_path(HELLO).read_bytes()),
        ("hello.wav", sample_path(HELLO).read_bytes(), "audio/wav"),
        ("", sample_path(HELLO).read_bytes()),
        ("größe.wav", sample_path(HELLO).read_bytes()),
    ],
    ids=["bytes", "unnamed", "tuple", "empty name", "not ascii"],
)
async def test_a_file_may_come_in_any_shape(client: AsyncOpenAI, file: Any):
    """Contract cases 32 and 33."""
    assert (await client.audio.transcriptions.create(file=file, model=GOOD)).text == "hello world"


@pytest.mark.parametrize(
    "fields",
    [
        {"language": "en"},
        {"prompt": "a style"},
        {"temperature": 0},
        {"temperature": 0.5},
        {"chunking_strategy": "auto"},
        {"chunking_strategy": {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100}},
        {"extra_body": {"chunking_strategy": '{"type":"server_vad"}'}},
        {"extra_body": {"foo": 1, "bar": [1, 2]}},
        {"extra_body": {"keywords": ["alpha"], "languages": ["en", "de"]}},
        {"extra_headers": {"OpenAI-Organization": "o", "X-Whatever": "1"}},
        {"extra_query": {"api-version": "2026-01-01"}},
        {"known_speaker_names": ["a"], "known_speaker_references": ["data:audio/wav;base64,AA=="]},
    ],
    ids=repr,
)
async def test_every_acceptable_field_is_accepted(client: AsyncOpenAI, fields: dict[str, Any]):
    """Contract cases 15, 34 to 39, 41, 47 and 49."""
    answer = await client.audio.transcriptions.create(file=sample_path(HELLO), model=GOOD, **fields)
    assert answer.text == "hello world"


async def test_fields_reach_the_recogniser(client: AsyncOpenAI, api: Api):
    """What the form says is what is asked for; the request id goes along."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(HELLO),
        model=GOOD,
        language="English",
        prompt="names",
        temperature=0.25,
        extra_headers={"X-Request-ID": "mine.1"},
    )
    (request,) = api.recogniser.requests
    assert (request.language, request.prompt, request.decoding.temperature) == ("en", "names", 0.25)
    assert request.request_id == "mine.1"
    assert answer._request_id == "mine.1"


async def test_logprobs_are_included_on_request(client: AsyncOpenAI):
    """Contract case 40."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(HELLO), model=GOOD, include=["logprobs"]
    )
    assert answer.logprobs is not None
    assert [item.token for item in answer.logprobs] == [" hello", " world"]
    assert bytes(int(byte) for byte in answer.logprobs[0].bytes or []) == b" hello"


async def test_four_requests_at_once_are_all_answered(client: AsyncOpenAI):
    """Contract case 45."""
    calls = [
        client.audio.transcriptions.create(file=sample_path(HELLO), model=GOOD) for _ in range(4)
    ]
    assert {answer.text for answer in await asyncio.gather(*calls)} == {"hello world"}


async def test_raw_and_streaming_responses_work(client: AsyncOpenAI):
    """Contract cases 11 and 46."""
    raw = await client.audio.transcriptions.with_raw_response.create(
        file=sample_path(HELLO), model=GOOD
    )
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().text == "hello world"
    async with client.audio.transcriptions.with_streaming_response.create(
        file=sample_path(HELLO), model=GOOD, response_format="text"
    ) as streamed:
        assert await streamed.text() == "hello world\n"


async def test_silence_is_an_empty_text(client: AsyncOpenAI):
    """Contract case 52."""
    answer = await client.audio.transcriptions.create(
        file=sample_path(SILENCE), model=GOOD, response_format="verbose_json"
    )
    assert answer.text == ""
    assert answer.segments == []
    assert answer.language


async def test_raw_pcm_is_recognised_by_its_content_type(api: Api, http: aiohttp.ClientSession):
    """What has no container needs its format said."""
    form = aiohttp.FormData({"model": GOOD})
    form.add_field(
        "file",
        sample_path(HELLO).read_bytes(),
        filename="blob",
        content_type="audio/pcm; rate=16000",
    )
    async with http.post(f"{api.base_url}/audio/transcriptions", data=form) as answer:
        assert answer.status == 200
    ((media, _),) = api.recogniser.media
    assert media.pcm is not None
    assert media.pcm.rate_hz == 16_000


# Transcriptions, rejections


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "yaml"}, "response_format"),
        ({"temperature": 2}, "temperature"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities[]"),
        (
            {"timestamp_granularities": ["phrase"], "response_format": "verbose_json"},
            "timestamp_granularities[]",
        ),
        ({"language": "not-a-language"}, "language"),
        ({"chunking_strategy": "sometimes"}, "chunking_strategy"),
        ({"include": ["everything"]}, "include"),
        ({"known_speaker_names": list("abcde")}, "known_speaker_names"),
        (
            {
                "response_format": "diarized_json",
                "known_speaker_names": ["ann"],
                "known_speaker_references": ["data:audio/wav;base64,AAAA"],
            },
            "known_speaker_references",
        ),
        ({"extra_body": {"diarization": "pyannote"}}, "diarization"),
        ({"extra_body": {"alignment": "wav2vec2"}}, "alignment"),
        (
            {
                "extra_body": {"align": "false"},
                "timestamp_granularities": ["word"],
                "response_format": "verbose_json",
            },
            "alignment",
        ),
        ({"stream": True, "response_format": "srt"}, "stream"),
        ({"stream": True, "temperature": 9}, "temperature"),
        ({"model": ""}, "model"),
        ({"file": b"x" * 5000}, None),
        ({"file": ("x.wav", b"RIFF" + bytes(5000))}, None),
        ({"file": b""}, None),
        ({"file": ("x.txt", b"hello" * 100)}, "file"),
    ],
    ids=repr,
)
async def test_bad_requests_are_told_apart(
    client: AsyncOpenAI, fields: dict[str, Any], param: str | None
):
    """Contract cases 63 to 70, 72, 73, 74, 77, 48, 86 and 89: 400 with an id and the field."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.audio.transcriptions.create(**rejection(**fields))
    error = caught.value
    assert error.type == "invalid_request_error"
    assert error.param == param or (param is None and error.param == "file")
    assert error.request_id
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}


async def test_an_unknown_model_is_refused_before_any_work(client: AsyncOpenAI, api: Api):
    """Contract case 62."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.audio.transcriptions.create(**rejection(model="no-such-model-zz"))
    assert caught.value.code == "model_not_found"
    assert not api.recogniser.requests


@pytest.mark.parametrize(("left_out", "param"), [("file", "file"), ("model", "model")])
async def test_a_missing_part_is_named(
    api: Api, http: aiohttp.ClientSession, left_out: str, param: str
):
    """Contract cases 60 and 61."""
    form = aiohttp.FormData({"prompt": "x"}, default_to_multipart=True)
    if left_out != "model":
        form.add_field("model", GOOD)
    if left_out != "file":
        form.add_field("file", sample_path(HELLO).read_bytes(), filename="a.wav")
    async with http.post(f"{api.base_url}/audio/transcriptions", data=form) as answer:
        error = (await answer.json())["error"]
    assert answer.status == 400
    assert (error["code"], error["param"]) == ("missing_required_parameter", param)


async def test_a_json_body_is_a_clean_refusal(api: Api, http: aiohttp.ClientSession):
    """Contract case 76."""
    async with http.post(f"{api.base_url}/audio/transcriptions", json={"model": GOOD}) as answer:
        assert answer.status == 400
        assert "multipart/form-data" in (await answer.json())["error"]["message"]


async def test_nothing_stays_in_the_spool(client: AsyncOpenAI, api: Api):
    """Neither after an answer nor after a refusal."""
    await client.audio.transcriptions.create(file=sample_path(HELLO), model=GOOD)
    with pytest.raises(openai.BadRequestError):
        await client.audio.transcriptions.create(**rejection(file=b"x" * 5000))
    assert not await asyncio.to_thread(lambda: list(api.spool.directory.iterdir()))


# Translations


async def test_a_translation_is_english(client: AsyncOpenAI):
    """Contract cases 100, 101 and 102."""
    path = sample_path("de_digits.wav")
    with deprecated():
        create = client.audio.translations.create
        plain = await create(file=path, model=GOOD)
        text = await create(file=path, model=GOOD, response_format="text")
        verbose = await create(file=path, model=GOOD, response_format="verbose_json")
    assert plain.text == sample("de_digits.wav")["translation"]
    assert set(plain.model_dump(exclude_none=True)) == {"text"}
    assert str(text) == plain.text + "\n"
    assert verbose.language == "english"
    assert verbose.model_dump()["task"] == "translate"
    assert verbose.segments


async def test_a_translation_tells_no_speakers_apart(client: AsyncOpenAI):
    """Contract case 103."""
    with deprecated(), pytest.raises(openai.BadRequestError) as caught:
        await client.audio.translations.create(
            **rejection(extra_body={"response_format": "diarized_json"})
        )
    assert caught.value.param == "response_format"


# Paths


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize("route", ["transcriptions", "translations"])
async def test_paths_work_with_and_without_v1(
    api: Api, http: aiohttp.ClientSession, prefix: str, route: str
):
    """Several programs append `/audio/transcriptions` to the bare host."""
    form = aiohttp.FormData({"model": GOOD})
    form.add_field("file", sample_path(HELLO).read_bytes(), filename="a.wav")
    async with http.post(f"{api.root}{prefix}/audio/{route}", data=form) as answer:
        assert (await answer.json())["text"] == "hello world"


# Leaving


async def test_a_client_that_leaves_ends_the_work(client: AsyncOpenAI, api: Api):
    """The generator is closed at once, and the upload deleted."""
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        call = group.create_task(
            client.audio.transcriptions.create(file=sample_path(HELLO), model=HELD)
        )
        await api.recogniser.reached.wait()
        call.cancel()
        await api.recogniser.closed.wait()
    assert (await client.models.list()).data


# Streams


async def streamed(client: AsyncOpenAI, name: str, **fields: Any) -> list[Any]:
    stream = await client.audio.transcriptions.create(
        file=sample_path(name), model=GOOD, stream=True, **fields
    )
    return [event async for event in stream]


@pytest.mark.parametrize("name", [THREE, HELLO, "fr_digits.wav", "stereo_two_speakers_44k.wav"])
async def test_a_stream_has_deltas_and_one_done(client: AsyncOpenAI, name: str):
    """Contract cases 80 to 84."""
    *deltas, done = await streamed(client, name)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert all(isinstance(delta, TranscriptionTextDeltaEvent) for delta in deltas)
    assert len(deltas) == len(sample(name)["segments"])
    assert "".join(delta.delta for delta in deltas) == done.text == sample(name)["text"]
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens


async def test_a_stream_of_silence_is_a_done(client: AsyncOpenAI):
    """Exactly one event, and it is empty."""
    (done,) = await streamed(client, SILENCE)
    assert (done.type, done.text) == ("transcript.text.done", "")


async def test_a_stream_carries_logprobs_on_request(client: AsyncOpenAI):
    """Contract case 88: on the deltas and, all of them, on the end."""
    *deltas, done = await streamed(client, THREE, include=["logprobs"])
    tokens = [item.token for delta in deltas for item in delta.logprobs]
    assert tokens == [item.token for item in done.logprobs] == [f" {w}" for w in done.text.split()]


async def test_four_streams_at_once_are_complete(client: AsyncOpenAI):
    """Contract case 90."""
    results = await asyncio.gather(*(streamed(client, THREE) for _ in range(4)))
    assert {events[-1].text for events in results} == {sample(THREE)["text"]}


async def test_translations_stream_as_an_extension(api: Api, http: aiohttp.ClientSession):
    """The same events with the English text."""
    form = aiohttp.FormData({"model": GOOD, "stream": "true"})
    form.add_field("file", sample_path("es_digits.wav").read_bytes(), filename="a.wav")
    async with http.post(f"{api.base_url}/audio/translations", data=form) as answer:
        *_, last = [line async for line in answer.content if line.startswith(b"data: ")]
    assert json.loads(last[6:])["text"] == sample("es_digits.wav")["translation"]


async def test_leaving_a_stream_ends_the_work(client: AsyncOpenAI, api: Api):
    """Contract case 85: after one event, and the server goes on."""
    async with asyncio.timeout(15):
        stream = await client.audio.transcriptions.create(
            file=sample_path(THREE), model=HELD, stream=True
        )
        async for event in stream:
            assert event.type == "transcript.text.delta"
            break
        await api.recogniser.reached.wait()
        await stream.close()
        await api.recogniser.closed.wait()
    assert (await client.models.list()).data


async def test_an_error_before_the_first_text_is_a_status(client: AsyncOpenAI):
    """The engine does not start: 503 and not a stream with an error in it."""
    with pytest.raises(openai.InternalServerError) as caught:
        await client.audio.transcriptions.create(**rejection(model="no-start", stream=True))
    assert caught.value.status_code == 503
    assert caught.value.code == "engine_start_failed"


async def test_an_error_in_mid_stream_ends_it_cleanly(client: AsyncOpenAI):
    """The client raises its own error with our message, after the text that had come."""
    stream = await client.audio.transcriptions.create(
        file=sample_path(THREE), model="late-crash", stream=True
    )
    assert (await anext(stream)).type == "transcript.text.delta"
    with pytest.raises(openai.APIError, match="ended before") as caught:
        await anext(stream)
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.code == "engine_crashed"


async def test_a_bug_in_mid_stream_tells_nothing(client: AsyncOpenAI):
    """The cause is for the log."""
    stream = await client.audio.transcriptions.create(
        file=sample_path(THREE), model="late-bug", stream=True
    )
    with pytest.raises(openai.APIError, match="had an error") as caught:
        async for _ in stream:
            pass
    assert "secret" not in str(caught.value.body)


async def test_chunked_uploads_with_the_file_first_work(api: Api, http: aiohttp.ClientSession):
    """Contract cases 42 and 43: no Content-Length, brackets left out."""

    async def pieces(path: Path) -> AsyncIterator[bytes]:
        data = await asyncio.to_thread(path.read_bytes)
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        yield head
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]
        for name, value in {
            "model": GOOD,
            "response_format": "verbose_json",
            "timestamp_granularities": "word",
        }.items():
            yield (
                f'\r\n--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'
            ).encode()
        yield b"\r\n--x--\r\n"

    async with http.post(
        f"{api.base_url}/audio/transcriptions",
        data=pieces(sample_path(THREE)),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    ) as answer:
        body = await answer.json()
    assert "Content-Length" not in answer.request_info.headers
    assert len(body["words"]) == 8


async def test_how_long_the_engine_stays_is_told_when_the_request_has_ended(
    client: AsyncOpenAI, api: Api
):
    """Our extension, as Ollama has it; also when it fails, and None when it says nothing."""
    for extra in ({"keep_alive": "-1"}, {"keep_alive": "5m"}, {}):
        await client.audio.transcriptions.create(**rejection(), extra_body=extra)
    with pytest.raises(openai.APIStatusError):
        await client.audio.transcriptions.create(
            **rejection(model="no-start"), extra_body={"keep_alive": 0}
        )
    assert api.names.kept_alive == [
        ("whisper-1", math.inf),
        ("whisper-1", 300.0),
        ("whisper-1", None),
        ("no-start", 0.0),
    ]


async def test_a_time_to_stay_that_makes_no_sense_is_refused(client: AsyncOpenAI, api: Api):
    """Before anything is done."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.audio.transcriptions.create(**rejection(), extra_body={"keep_alive": "soon"})
    assert caught.value.param == "keep_alive"
    assert not api.names.kept_alive
