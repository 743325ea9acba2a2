"""The whole application."""

import aiohttp

from support.api_app import Api


async def test_requests_to_all_routes_leave_no_trace_between_them(
    api: Api, http: aiohttp.ClientSession
):
    """One connection, many requests, an id for each."""
    ids = set()
    for path in ("/", "/v1", "/v1/models", "/models", "/health", "/ready", "/nothing") * 3:
        async with http.get(api.root + path) as answer:
            await answer.read()
            ids.add(answer.headers["x-request-id"])
    assert len(ids) == 21
