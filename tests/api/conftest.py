"""A running API, and an alarm for calls that would block the event loop."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict

from support.api_app import Api, Setup, Start, serve_api


@pytest.fixture(autouse=True)
def blocking_calls_fail() -> Iterator[BlockBuster]:
    """Make any call of the server that blocks the event loop raise."""
    with blockbuster_ctx("whisper_router") as guard:
        yield guard


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    """Collect what is logged, with the request's id."""
    with capture_logs(processors=[merge_contextvars]) as entries:
        yield entries


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a way to start an API that differs from the usual one."""
    return lambda setup: serve_api(tmp_path / "spool", setup)


@pytest.fixture
async def api(start: Start) -> AsyncIterator[Api]:
    """An API without keys and without CORS."""
    async with start(Setup()) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without opinions."""
    async with aiohttp.ClientSession() as session:
        yield session
