"""`/metrics`."""

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.api_app import GOOD, LATE_CRASH, Api, Setup, Start, sample_path
from whisper_router.api.key_source import FixedKeys

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
URL = "/v1/audio/transcriptions"


async def scrape(http: aiohttp.ClientSession, api: Api) -> Samples:
    async with http.get(f"{api.root}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    return {
        (sample.name.removeprefix("whisper_router_"), frozenset(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def transcribe(http: aiohttp.ClientSession, api: Api, model: str, **fields: str) -> None:
    form = aiohttp.FormData({"model": model, **fields})
    content = sample_path("en_three_segments.wav").read_bytes()
    form.add_field("file", content, filename="a.wav")
    async with http.post(api.root + URL, data=form) as answer:
        await answer.read()


def more(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


async def test_requests_are_counted_by_route_and_status(api: Api, http: aiohttp.ClientSession):
    """What nobody has registered is one route, whatever it is called."""
    before = await scrape(http, api)
    await transcribe(http, api, GOOD)
    await transcribe(http, api, "no-such-model")
    for path in ("/nothing", "/nothing/else"):
        async with http.get(api.root + path) as answer:
            assert answer.status == 404
    after = await scrape(http, api)
    post = {"method": "POST", "route": URL}
    assert more(before, after, "http_requests_total", **post, status="200") == 1
    assert more(before, after, "http_requests_total", **post, status="404") == 1
    unknown = {"method": "GET", "route": "unknown", "status": "404"}
    assert more(before, after, "http_requests_total", **unknown) == 2
    assert more(before, after, "http_request_duration_seconds_count", route=URL) == 2
    assert more(before, after, "errors_total", code="model_not_found") == 1


async def test_an_error_late_in_a_stream_is_one_too(api: Api, http: aiohttp.ClientSession):
    """And its first text has come in time."""
    before = await scrape(http, api)
    await transcribe(http, api, LATE_CRASH, stream="true")
    after = await scrape(http, api)
    assert more(before, after, "errors_total", code="engine_crashed") == 1
    assert more(before, after, "time_to_first_delta_seconds_count") == 1


@pytest.mark.parametrize("is_open", [True, False])
async def test_it_needs_a_key_unless_it_is_open(
    start: Start, http: aiohttp.ClientSession, is_open: bool
):
    """An administrator's."""
    setup = Setup(keys=FixedKeys(["secret"]), open_metrics=is_open)
    async with start(setup) as api, http.get(f"{api.root}/metrics") as answer:
        assert answer.status == (200 if is_open else 401)


async def test_openmetrics_is_there_for_who_wants_it(api: Api, http: aiohttp.ClientSession):
    """Prometheus asks for it."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with http.get(f"{api.root}/metrics", headers=accept) as answer:
        assert answer.content_type == "application/openmetrics-text"
        assert (await answer.text()).endswith("# EOF\n")
