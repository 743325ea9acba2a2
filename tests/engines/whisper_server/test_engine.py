"""The plugin with the real whisper-server, beyond what the conformance suite asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from support.speech import DEMO_MODEL, sample
from support.whispercpp_ggml import as_english, as_f16, read
from whisper_router.domain import DecodingOptions, LanguageDetected, Segment, TranscriptionRequest
from whisper_router.engine_api import Endpoint, EndpointKind, EngineEvent, WorkerStarted
from whisper_router.errors import EngineCrashed, EngineRejected
from whisper_router.testing.harness import Running, running, start_error, write_spool
from whisper_router_engines.whisper_server.engine import WhisperServer
from whisper_router_engines.whisper_server.options import WhisperServerOptions
from whisper_router_engines.whispercpp.engine import WhisperCpp
from whisper_router_engines.whispercpp.options import WhisperCppOptions

ENGINE = WhisperServer()
ENDPOINT = Endpoint(kind=EndpointKind.TCP, url="http://127.0.0.1:8123")
LIMIT_S = 60


@pytest.fixture
def options(whisper_server_binary) -> WhisperServerOptions:
    """The program that was built for the tests, and no more."""
    return WhisperServerOptions(binary=str(whisper_server_binary))


@asynccontextmanager
async def answering(status: int, answer: bytes) -> AsyncIterator[Endpoint]:
    """A server that answers every request like this."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status, body=answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        yield Endpoint(kind=EndpointKind.TCP, url=f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()


async def events(process: Running, chunk, **fields) -> list[EngineEvent]:
    request = TranscriptionRequest(model="x", **fields)
    async with asyncio.timeout(LIMIT_S):
        stream = process.engine.transcribe(process.http, process.endpoint, chunk, request)
        return [event async for event in stream]


def said(found: list[EngineEvent]) -> list[tuple[str, float, float]]:
    return [(e.text, e.start_s, e.end_s) for e in found if isinstance(e, Segment)]


def test_workers_are_processes():
    """One whisper-server computes one chunk at a time; they share the cores."""
    launch = ENGINE.launch(Path("/m.bin"), WhisperServerOptions(workers=3), ENDPOINT)
    assert (launch.workers, launch.processes) == (1, 3)
    assert launch.argv[launch.argv.index("--share-of-cores") + 1] == "3"


def test_options_become_flags():
    """What a request does not say is what the program was started with."""
    options = WhisperServerOptions(
        beam_size=4,
        threads=2,
        gpu=False,
        flash_attn=False,
        suppress_nst=True,
        extra_args=("-debug",),
    )
    line = " ".join(ENGINE.launch(Path("/m.bin"), options, ENDPOINT).argv)
    assert "--share-of-cores" not in line
    for flags in ("--host 127.0.0.1 --port 8123", "-bs 4", "-t 2", "-ng", "-nfa", "-sns"):
        assert f" {flags} " in line
    assert line.endswith(" -debug")


async def test_what_it_hears_is_what_our_own_workers_hear(options, tmp_path):
    """Same weights, same audio: the same segments at the same times."""
    chunk = write_spool(sample("en_three_segments").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as theirs:
        from_them = await events(theirs, chunk, word_timestamps=True)
    async with running(WhisperCpp(), DEMO_MODEL, WhisperCppOptions()) as ours:
        from_us = await events(ours, chunk, word_timestamps=True)
    assert said(from_them) == said(from_us)
    words = [
        [w.text for e in found if isinstance(e, Segment) for w in e.words]
        for found in (from_them, from_us)
    ]
    assert words[0] == words[1]


@pytest.mark.parametrize("name", ["de_digits", "es_digits"])
async def test_the_language_is_detected(options, tmp_path, name):
    """Its own default would be English."""
    spoken = sample(name)
    chunk = write_spool(spoken.path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        found = await events(process, chunk)
    assert [e.code for e in found if isinstance(e, LanguageDetected)] == [spoken.language]
    assert "".join(text for text, _, _ in said(found)).strip() == spoken.text


async def test_parameters_of_one_request_do_not_leak_into_the_next(options, tmp_path):
    """Some builds kept them (whisper.cpp #3784)."""
    chunk = write_spool(sample("en_call_sign").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        before = await events(process, chunk)
        decoding = DecodingOptions(beam_size=5, temperature=0.8)
        await events(process, chunk, language="de", prompt="eins zwei", decoding=decoding)
        assert await events(process, chunk) == before


@pytest.mark.parametrize("count", [0, 1, 1599])
async def test_very_short_audio_is_empty_and_harms_nobody(options, tmp_path, count):
    """whisper.cpp would read beyond the end of less than 201 samples."""
    chunk = write_spool(sample("en_call_sign").path, tmp_path / "speech.f32")
    short = type(chunk)(path=chunk.path, start=0, end=count)
    async with running(ENGINE, DEMO_MODEL, options) as process:
        assert said(await events(process, short, language="en")) == []
        assert said(await events(process, chunk, language="en"))


async def test_an_english_model_refuses_other_languages(options, tmp_path):
    """whisper-server hears English then, and says nothing."""
    path = as_english(as_f16(read(DEMO_MODEL))).write(tmp_path / "ggml-small.en.bin")
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with running(ENGINE, path, options) as process:
        with pytest.raises(EngineRejected, match="english only") as caught:
            await events(process, chunk, language="de")
        assert caught.value.param == "language"
        assert said(await events(process, chunk, language="en"))


async def test_options_out_of_range_are_refused(options, tmp_path):
    """whisper-server would abort, or answer strangely."""
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        for decoding in (
            DecodingOptions(beam_size=99),
            DecodingOptions(temperature_increment=1e-9),
        ):
            with pytest.raises(EngineRejected):
                await events(process, chunk, decoding=decoding)
        assert said(await events(process, chunk))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b"error"),
        (200, b"Invalid request"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"language": "english", "segments": [{"start": null}]}'),
        (200, b'{"language": "english", "segments": [{"avg_logprob": -nan'),
    ],
)
async def test_an_answer_that_cannot_be_understood_is_a_crash(tmp_path, status, answer):
    """Its texts are not passed on: they say nothing, or what somebody has said."""
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with answering(status, answer) as endpoint, aiohttp.ClientSession() as http:
        with pytest.raises(EngineCrashed) as caught:
            stream = ENGINE.transcribe(http, endpoint, chunk, TranscriptionRequest(model="x"))
            async for event in stream:
                assert isinstance(event, WorkerStarted)
    assert answer.decode() not in str(caught.value)


async def test_numbers_that_are_none_do_no_harm(tmp_path):
    """NaN is no JSON, but whisper.cpp prints it for a segment without tokens."""
    segment = (
        b'{"start": 0, "end": 1, "text": " hello", "avg_logprob": NaN, "no_speech_prob": null}'
    )
    answer = b'{"language": "english", "segments": [%b]}' % segment
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with answering(200, answer) as endpoint, aiohttp.ClientSession() as http:
        stream = ENGINE.transcribe(http, endpoint, chunk, TranscriptionRequest(model="x"))
        *_, last = [event async for event in stream]
    assert isinstance(last, Segment)
    assert (last.text, last.avg_logprob, last.no_speech_prob) == (" hello", 0.0, 0.0)


async def test_nobody_else_finds_the_way_to_load_another_model(options, tmp_path):
    """`/load` would leave it unready for ever; its routes have a secret prefix."""
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        form = {"model": "/no/such/model.bin"}
        async with process.http.post(f"{process.endpoint.url}/load", data=form) as response:
            assert response.status == 404
        assert await ENGINE.is_ready(process.http, process.endpoint) is not None
        assert said(await events(process, chunk))


async def test_what_it_prints_is_not_what_it_hears(options, tmp_path):
    """Its output can be read by administrators, and is told when it does not start."""
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        assert said(await events(process, chunk))
        printed = process.printed()
    assert "chunk.wav" in printed, "it does print something for each request"
    assert "hello" not in printed.lower()


async def test_audio_that_is_cut_short_while_it_is_sent_ends_in_an_error(
    options, tmp_path, monkeypatch
):
    """The connection is closed before the announced end; the server serves on."""
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    async with running(ENGINE, DEMO_MODEL, options) as process:
        request = TranscriptionRequest(model="x")
        stream = ENGINE.transcribe(process.http, process.endpoint, chunk, request)
        await anext(stream)
        chunk.path.write_bytes(b"")
        with pytest.raises(EngineCrashed):
            await anext(stream)
        write_spool(sample("en_hello_gb").path, chunk.path)
        assert said(await events(process, chunk))


async def test_a_flag_that_it_does_not_know_is_a_failed_start(options):
    """It exits with 0, which must not pass for an end that was asked for."""
    wrong = options.model_copy(update={"extra_args": ("--no-such-flag",)})
    text = await start_error(ENGINE, DEMO_MODEL, wrong)
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert errors == ["error: unknown argument: --no-such-flag"], "what is told to the user"
    assert "ended by itself with exit code 0" in text
