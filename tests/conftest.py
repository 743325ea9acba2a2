"""Both event loops, for every asynchronous test that does not choose one."""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import uvloop
from hypothesis import settings

from support import kept_logs
from support.own_time import OwnTime
from support.whisper_server import COMPILERS, built

# CI judges a change by the same examples each time; developers look for new ones. How long one
# takes says more about the machine than about the code.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")


# Whoever runs the tests in the background, or with nohup, has these ignored, and so would all that
# they start, though some of it is to be ended by them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

kept_logs.keep_events()


def pytest_runtest_logfinish(nodeid: str, location: object) -> None:
    """Write what was logged in this process meanwhile."""
    del location
    kept_logs.write_events(nodeid)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, object]:
    """Run on uvloop, which the server uses; `@pytest.mark.both_loops` adds asyncio's own.

    `@pytest.mark.own_time` is for `support.own_time`.
    """
    del config
    if item.get_closest_marker("own_time"):
        return {"own_time": OwnTime}
    if item.get_closest_marker("both_loops"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test runs sets up the logging of its process: levels, a stream."""
    config, root = structlog.get_config(), logging.getLogger()
    loggers = [root, logging.getLogger("aiohttp.websocket")]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    yield
    structlog.configure(**config)
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def whisper_server_binary() -> Path:
    """whisper.cpp's own server; `make test` has built it, or pytest does the first time."""
    missing = subprocess.run([COMPILERS], stderr=subprocess.PIPE, text=True, check=False)
    if missing.returncode:
        pytest.skip(f"whisper-server cannot be built: {missing.stderr}")
    return built("native")
