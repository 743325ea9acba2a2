"""Wrong keys, many of them."""

import asyncio

import aiohttp

from support.api_app import Setup, Start
from whisper_router.api.key_source import FixedKeys
from whisper_router.api.wrong_keys import LOGGED_EACH, MOST_ADDRESSES, OTHERS, WrongKeys
from whisper_router.metrics import REGISTRY

GOOD = {"Authorization": "Bearer right"}


def counted() -> float:
    return REGISTRY.get_sample_value("whisper_router_wrong_keys_total") or 0.0


async def test_they_are_counted_and_summed_up_and_nobody_is_locked_out(start: Start, logs):
    before = counted()
    async with start(Setup(keys=FixedKeys(["right"]))) as api, aiohttp.ClientSession() as http:
        for number in range(LOGGED_EACH + 20):
            headers = {"Authorization": f"Bearer wrong-{number}"}
            async with http.get(f"{api.base_url}/models", headers=headers) as answer:
                assert answer.status == 401
                assert (await answer.json())["error"]["code"] == "invalid_api_key"
        async with http.get(f"{api.base_url}/models", headers=GOOD) as answer:
            assert answer.status == 200
    lines = [line for line in logs if line["event"] == "request_done"]
    shown = [line for line in lines if line["log_level"] == "info" and line["status"] == 401]
    assert len(shown) == LOGGED_EACH
    assert counted() - before == LOGGED_EACH + 20


async def test_a_body_behind_one_of_many_is_not_read(start: Start):
    """Reading 100 MB to drop them is for clients that made a mistake, not for a flood of them."""
    async with asyncio.timeout(15), start(Setup(keys=FixedKeys(["right"]))) as api:
        for number in range(LOGGED_EACH + 1):
            reader, writer = await asyncio.open_connection(api.host, api.port)
            writer.write(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nx-api-key: wrong\r\n"
                b"Content-Length: 100000000\r\nConnection: close\r\n\r\n"
            )
            assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
            if number == LOGGED_EACH:
                await reader.read()  # it ends although nothing of the body came
            writer.close()


async def test_many_addresses_cost_no_more_memory_than_some(logs):
    wrong = WrongKeys(window_s=0.05)
    for number in range(MOST_ADDRESSES + 10):
        wrong.note(f"10.0.{number // 256}.{number % 256}")
    async with asyncio.timeout(15):
        while not logs:  # noqa: ASYNC110 - a log sets no event
            await asyncio.sleep(0.01)
    assert [(line["event"], line["client"], line["count"]) for line in logs] == [
        ("wrong_keys", OTHERS, 10)
    ]
