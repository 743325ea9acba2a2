"""The operators' routes of whisperX API server against their description."""

import io

import aiohttp
import pytest

from support.api_app import Api
from support.openapi import check_answer

ROOT = "/whisperx"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("get", "/healthcheck", {}, 200),
        ("get", "/info", {}, 200),
        ("get", "/models/catalog", {}, 200),
        ("get", "/diarize_models/list", {}, 200),
        ("post", "/align_models/load", {"language": "en"}, 200),
        ("post", "/align_models/load", {"language": "klingon"}, 404),
        ("post", "/diarize_models/unload", {"model": "channels"}, 404),
        ("post", "/models/load", {}, 400),
    ],
)
async def test_answers_are_as_described(
    api: Api,
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    sent: dict[str, str],
    status: int,
):
    """Forms may be multipart, urlencoded, or in the query."""
    multipart = aiohttp.FormData(default_to_multipart=True)
    for name, value in sent.items():
        multipart.add_field(name, value)
    ways = [{"params": sent}] + ([{"data": sent}, {"data": multipart}] if sent else [])
    for way in ways:
        async with http.request(method, f"{api.root}{ROOT}{path}", **way) as answer:
            assert answer.status == status
            await check_answer(ROOT + path, answer)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \x00\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n"),
        ("application/x-www-form-urlencoded", b"\xff=%ff"),
        ("application/x-www-form-urlencoded; charset=klingon", b"a=b"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(
    api: Api, http: aiohttp.ClientSession, content_type: str, body: bytes
):
    """It is no failure of the server."""
    url, headers = f"{api.root}{ROOT}/align_models/load", {"Content-Type": content_type}
    async with http.post(url, data=body, headers=headers) as answer:
        assert answer.status == 400
        await check_answer(f"{ROOT}/align_models/load", answer)


async def test_too_long_a_form_is_refused_with_detail(api: Api, http: aiohttp.ClientSession):
    """What the web framework refuses is answered as all errors of the route are."""
    body = io.BytesIO(b"language=" + b"x" * (2 << 20))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{api.root}{ROOT}/align_models/load"
    async with http.post(url, data=body, headers=headers) as answer:
        assert answer.status == 413
        assert (await check_answer(f"{ROOT}/align_models/load", answer))["detail"]
