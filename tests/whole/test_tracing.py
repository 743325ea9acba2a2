"""The trace of a real request: what it spent its time on, and who else took part."""

import asyncio
import json

import pytest

from support.client import ask, session
from support.job_receiver import receiver
from support.otlp import TracedSpan, collector
from support.server import running_server
from support.speech import sample

SPEECH = sample("en_three_segments")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = PARENT.split("-")[1]
ROUTE = "POST /v1/audio/transcriptions"
LIMIT_S = 60
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def config(url: str, more: str = "") -> str:
    return f'default_model = "demo"\n[tracing]\nenabled = true\nendpoint = "{url}"\n{more}'


def children(spans: list[TracedSpan], parent: TracedSpan) -> set[str]:
    return {span.name for span in spans if span.parent == parent.id}


@pytest.fixture
async def received():
    async with collector() as running:
        yield running


async def test_a_request_is_a_tree_of_spans_under_its_clients(received, tmp_path):
    """The request, decoding, the queue, the worker, the chunk, the engine; without any text."""
    with running_server(tmp_path, config=config(received.url), env=QUICKLY) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            http.headers.update({"traceparent": PARENT, "X-Request-ID": "call-7"})
            assert (await ask(http, server.url, SPEECH.path))[0] == 200
            status, _ = await ask(http, server.url, SPEECH.path, model="nowhere")
            assert status == 404
        assert await asyncio.to_thread(server.stop) == 0
    good, bad = sorted(
        (span for span in received.spans if span.name == ROUTE), key=lambda span: span.began_s
    )
    spans = [span for span in received.spans if span.trace == TRACE]
    assert {good.trace, bad.trace} == {TRACE}
    assert {good.parent, bad.parent} == {PARENT.split("-")[2]}
    assert children(spans, good) == {"decode", "queue", "worker", "chunk"}
    chunk, engine = received.one("chunk"), received.one("engine")
    assert engine.parent == chunk.id
    assert good.began_s <= received.one("queue").began_s <= chunk.began_s <= engine.began_s
    assert engine.ended_s <= chunk.ended_s <= good.ended_s
    assert good.attributes["whisper_router.alias"] == "demo"
    assert good.attributes["whisper_router.request_id"] == "call-7"
    assert good.attributes["whisper_router.audio_seconds"] == pytest.approx(6.92, abs=0.01)
    assert good.attributes["http.response.status_code"] == 200
    assert (bad.attributes["error.type"], bad.has_failed) == ("model_not_found", True)
    told = json.dumps([[span.name, span.attributes] for span in received.spans])
    assert [word for word in (*SPEECH.text.split(), SPEECH.path.name) if f'"{word}' in told] == []


async def test_jobs_webhooks_and_servers_elsewhere_take_part(received, tmp_path):
    """One trace over two routers, a job that is run later, and the webhook that ends it."""
    for name in ("back", "front"):
        (tmp_path / name).mkdir()
    env = QUICKLY | {"WHISPER_ROUTER__OUTBOUND__ALLOW_PRIVATE": "true"}
    back_config = config(received.url)
    with running_server(tmp_path / "back", config=back_config, env=QUICKLY) as back:
        remote = f'[models.demo]\nengine = "upstream"\nbase_urls = ["{back.url}/v1"]\n'
        with running_server(
            tmp_path / "front", config=config(received.url, remote), env=env
        ) as front:
            async with (
                asyncio.timeout(LIMIT_S),
                session() as http,
                receiver(tmp_path) as client,
            ):
                http.headers["traceparent"] = PARENT
                assert (await ask(http, front.url, SPEECH.path, model="demo"))[0] == 200
                with SPEECH.path.open("rb") as file:
                    form = {"model": "demo", "webhook_url": f"{client.url}/hook", "file": file}
                    async with http.post(f"{front.url}/v1/jobs", data=form) as response:
                        assert response.status in {200, 201, 202}, await response.text()
                await client.until(1)
            assert await asyncio.to_thread(front.stop) == 0
        assert await asyncio.to_thread(back.stop) == 0
    spans = received.spans
    assert {span.trace for span in spans if span.name in {"upstream", "job", "webhook"}} == {TRACE}
    upstream, job = received.one("upstream"), received.one("job")
    assert ROUTE in children(spans, upstream)
    assert {"decode", "queue", "chunk"} <= children(spans, job)
    remote_engine = next(span for span in spans if ROUTE in children(spans, span) and
                         span.name == "engine")  # fmt: skip
    assert remote_engine.trace == TRACE
    told = {name.lower(): value for name, value in client.headers[0].items()}
    assert told["traceparent"].split("-")[1:3] == [TRACE, received.one("webhook").id]
