"""The upstream engine with a real router at the other end, and with servers that misbehave."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from support.held_port import held_port
from support.odd_server import OddServer, odd_server
from support.relayed_form import ScriptedForm
from support.server import ServerProcess, running_server
from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.engine_api import Endpoint, RelayedAnswer
from whisper_router.errors import (
    EngineCrashed,
    EngineInterrupted,
    EngineRejected,
    EngineStartFailed,
    EngineTimeout,
    InvalidRequest,
    UpstreamRefused,
)
from whisper_router.plugins import load_engines
from whisper_router.testing.conformance import EngineConformance, Subject
from whisper_router.testing.harness import write_spool
from whisper_router_engines.upstream.engine import Upstream

MODEL = load_engines()["whispercpp"].bundled_models()["demo"]
SAMPLE = json.loads((MODEL.parent / "samples.json").read_text())[0]
SPEECH = MODEL.parent / "samples" / SAMPLE["file"]
KEY = "the-key-of-the-other-one"
WAIT_S = 30


@pytest.fixture(scope="module")
def router(tmp_path_factory) -> ServerProcess:
    """Another router, which wants a key."""
    config = f'default_model = "demo"\n[auth]\napi_key = "{KEY}"\n'
    with running_server(tmp_path_factory.mktemp("upstream"), config=config) as server:
        yield server


def endpoint_at(url: str, **options: object) -> Endpoint:
    chosen = {"base_urls": [f"{url}/v1"], "remote_model": "demo", **options}
    engine = Upstream()
    [endpoint] = engine.endpoints(engine.Options.model_validate(chosen))
    return endpoint


class TestUpstream(EngineConformance):
    """The suite that plugin authors run: chunks, for which the other router is an engine."""

    @pytest.fixture
    def subject(self, router: ServerProcess) -> Subject:
        options = {"base_urls": [f"{router.url}/v1"], "remote_model": "demo", "api_key": KEY}
        engine = Upstream()
        [endpoint] = engine.endpoints(engine.Options.model_validate(options))
        return Subject(
            engine=engine,
            model=MODEL,
            speech=SPEECH,
            language=SAMPLE["language"],
            text=SAMPLE["text"],
            options=options,
            endpoint=endpoint,
        )


@pytest.fixture
async def odd() -> AsyncIterator[OddServer]:
    async with odd_server() as server:
        yield server


@asynccontextmanager
async def relayed(endpoint: Endpoint, form: ScriptedForm) -> AsyncIterator[RelayedAnswer]:
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as http,
        Upstream().relay(http, endpoint, form) as answer,
    ):
        yield answer


async def whole(endpoint: Endpoint, form: ScriptedForm) -> bytes:
    async with relayed(endpoint, form) as answer:
        return b"".join([piece async for piece in answer.body])


async def test_a_form_is_answered_by_the_other_router(router):
    """With its key, and its name of the model."""
    form = ScriptedForm([SPEECH.read_bytes()])
    body = await whole(endpoint_at(router.url, api_key=KEY), form)
    assert json.loads(body)["text"] == SAMPLE["text"]


async def test_what_has_arrived_is_sent_before_the_rest_is_here(odd):
    """True streaming: no server waits for what it has to compute on anyway."""
    more: asyncio.Queue[None] = asyncio.Queue()
    form = ScriptedForm([b"first-piece", b"second-piece"], more=more)
    answering = asyncio.ensure_future(whole(endpoint_at(odd.url), form))  # noqa: TID251
    more.put_nowait(None)
    seen = b""
    async with asyncio.timeout(WAIT_S):
        while b"first-piece" not in seen:
            seen += await odd.arrived.get()
    assert b"second-piece" not in seen
    more.put_nowait(None)
    await answering
    assert b"second-piece" in odd.bodies[0]
    assert odd.requests[0].headers["Transfer-Encoding"] == "chunked"


async def test_a_server_without_chunked_requests_gets_the_length(odd):
    """Once all of the form is here."""
    form = ScriptedForm([b"first-piece", b"second-piece"])
    await whole(endpoint_at(odd.url, stream_upload=False), form)
    [request] = odd.requests
    assert request.content_length == len(odd.bodies[0])
    assert "Transfer-Encoding" not in request.headers


@pytest.mark.own_time
async def test_a_slow_upload_that_is_sent_at_the_end_is_no_silence_either(odd):
    """The server's time begins when it is asked."""
    form = ScriptedForm([b"piece"] * 3, wait_s=7)
    body = await whole(endpoint_at(odd.url, answer_timeout_s=10, stream_upload=False), form)
    assert json.loads(body)["text"] == "hello"


async def test_headers_and_key_go_with_it(odd):
    """The request id, the way it came; the client's key is not among them."""
    form = ScriptedForm([b"x"], headers={"X-Request-ID": "req_1", "Via": "1.1 whisper-router-abc"})
    form.task = Task.TRANSLATE
    await whole(endpoint_at(odd.url, api_key="secret"), form)
    [request] = odd.requests
    assert request.path == "/v1/audio/translations"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["X-Request-ID"] == "req_1"
    assert request.headers["Via"] == "1.1 whisper-router-abc"


async def test_nobody_there_means_that_nothing_was_sent():
    """So the form may go to any other server."""
    form = ScriptedForm([b"x"])
    with held_port() as port, pytest.raises(EngineInterrupted, match="cannot be reached"):
        await whole(endpoint_at(f"http://127.0.0.1:{port}"), form)
    assert form.times_read == 0


async def test_a_server_that_hangs_up_has_crashed(odd):
    """Who knows what became of the request."""
    odd.do = "hang up"
    with pytest.raises(EngineCrashed) as caught:
        await whole(endpoint_at(odd.url), ScriptedForm([b"x"]))
    assert not isinstance(caught.value, EngineInterrupted)


async def test_a_silent_server_is_given_up_in_its_time(odd):
    """The time counts from the last piece that was sent."""
    odd.do = "be silent"
    with pytest.raises(EngineTimeout, match="answer_timeout_s"):
        await whole(endpoint_at(odd.url, answer_timeout_s=0.2), ScriptedForm([b"x"]))


@pytest.mark.own_time
async def test_a_slow_upload_is_no_silence(odd):
    """Its client sends piece after piece, in more time than a server may be silent."""
    form = ScriptedForm([b"piece"] * 3, wait_s=7)
    body = await whole(endpoint_at(odd.url, answer_timeout_s=10), form)
    assert json.loads(body)["text"] == "hello"


async def test_a_refusal_that_comes_early_is_understood(odd):
    """A server need not read what it does not want."""
    odd.do = "refuse early"
    with pytest.raises(UpstreamRefused, match="too large") as caught:
        await whole(endpoint_at(odd.url), ScriptedForm([b"x" * 1000]))
    assert caught.value.status == 413


async def test_what_broke_the_upload_is_what_the_client_is_told(odd):
    """And not that some server broke off."""
    form = ScriptedForm([b"x" * 1000], error=InvalidRequest("The body was cut short."))
    with pytest.raises(InvalidRequest, match="cut short"):
        await whole(endpoint_at(odd.url), form)
    assert odd.bodies == []


async def test_a_stream_that_breaks_off_says_so_after_what_had_come(odd):
    """What was sent cannot be taken back."""
    odd.do = "stream"
    got = b""
    async with relayed(endpoint_at(odd.url), ScriptedForm([b"x"])) as answer:
        assert answer.is_stream
        with pytest.raises(EngineCrashed):
            async for piece in answer.body:
                got += piece
                odd.held.set()
    assert got == b'data: {"delta": "one"}\n\n'


@pytest.mark.parametrize("do", ["answer", "nonsense"])
async def test_a_chunk_s_answer_that_is_no_transcript_is_a_crash(odd, tmp_path, do):
    """The segments are no segments; or it is no JSON at all."""
    odd.do = do
    with pytest.raises(EngineCrashed):
        await _chunk(odd, tmp_path)


async def test_what_a_chunk_s_refusal_means(odd, tmp_path):
    """The client's fault is a rejection, as the same from a process of ours."""
    odd.do = "refuse early"
    with pytest.raises(EngineRejected, match="too large"):
        await _chunk(odd, tmp_path)


async def test_a_chunk_tells_which_way_it_came_and_whose_it_is(odd, tmp_path):
    """Or two routers could send it to each other for ever, and their logs had nothing in common."""
    with contextlib.suppress(EngineCrashed):
        await _chunk(odd, tmp_path, via="1.1 whisper-router-abc", request_id="req_1")
    assert odd.requests[0].headers["X-Request-ID"] == "req_1"
    assert odd.requests[0].headers["Via"] == "1.1 whisper-router-abc"


async def _chunk(odd: OddServer, folder: Path, via: str = "", request_id: str = "") -> list[object]:
    chunk = await asyncio.to_thread(write_spool, SPEECH, folder / "speech.f32")
    request = TranscriptionRequest(model="x", via=via, request_id=request_id)
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as http:
        events = Upstream().transcribe(http, endpoint_at(odd.url), chunk, request)
        return [event async for event in events]


async def test_health_is_the_list_of_models(odd):
    """A server that has no such list is there all the same; one that is broken is not."""
    engine = Upstream()
    async with aiohttp.ClientSession() as http:
        assert await engine.is_ready(http, endpoint_at(odd.url)) is not None
        odd.is_down = True
        assert await engine.is_ready(http, endpoint_at(odd.url)) is None
        odd.do = "refuse the key"
        with pytest.raises(EngineStartFailed, match="api_key"):
            await engine.is_ready(http, endpoint_at(odd.url))


async def test_redirects_are_not_followed(odd):
    """The upload would arrive as something else, somewhere else."""
    odd.do = "redirect"
    with pytest.raises(UpstreamRefused, match="final address") as caught:
        await whole(endpoint_at(odd.url), ScriptedForm([b"x"]))
    assert caught.value.code == "upstream_refused"


async def test_an_answer_that_comes_before_the_end_of_the_upload_ends_neither(odd):
    """Some servers send their headers at once."""
    odd.do = "answer early"
    more: asyncio.Queue[None] = asyncio.Queue()
    form = ScriptedForm([b"first", b"second", b"third"], more=more)
    more.put_nowait(None)
    got = b""
    async with relayed(endpoint_at(odd.url), form) as answer:
        async for piece in answer.body:
            got += piece
            more.put_nowait(None)
            more.put_nowait(None)
    assert got == b": here\n\ndata: {}\n\n"
    assert b"third" in odd.bodies[0]
