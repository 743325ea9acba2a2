"""Spans as a collector gets them; and that nothing happens without one."""

import asyncio
import subprocess
import sys
import time

import pytest

from support.otlp import collector
from whisper_router import tracing
from whisper_router.errors import QueueFull
from whisper_router.tasks import Tasks

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LIMIT_S = 60
SLOW_S = 10.0
"""What a busy machine may take. A collector that hangs, hangs longer."""


def recorded(url: str):
    return tracing.exporting(enabled=True, endpoint=url, version="1.2.3")


async def test_parts_belong_to_what_is_active_and_an_error_is_its_code():
    """Also in tasks; and what a client sent is above all of it."""
    async with asyncio.timeout(LIMIT_S), collector() as received:
        async with recorded(received.url):
            sent = {"traceparent": PARENT, "tracestate": "vendor=1"}
            with (
                tracing.begin("request", kind=tracing.Kind.SERVER, parent=sent, n=1) as above,
                above.active(),
            ):
                tasks = Tasks()
                with pytest.raises(QueueFull), tracing.begin("queue", alias="demo", key=None):
                    raise QueueFull("Too many wait: a secret.")
                tasks.spawn(_part("in a task"), name="part")
                await asyncio.sleep(0)
                await tasks.close()
                told = above.headers()
            with tracing.begin("another"):
                pass
        request, queue = received.one("request"), received.one("queue")
    assert (request.trace, request.parent) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert told["traceparent"].split("-")[1:3] == [request.trace, request.id]
    assert told["tracestate"] == "vendor=1"
    assert {queue.parent, received.one("in a task").parent} == {request.id}
    assert queue.attributes == {"whisper_router.alias": "demo", "error.type": QueueFull.code}
    assert queue.has_failed
    assert not request.has_failed
    assert received.one("another").trace != request.trace
    assert received.services == {"whisper-router"}


async def _part(name: str) -> None:
    with tracing.begin(name):
        pass


@pytest.mark.parametrize("sent", ["", "00-0-0-01", "x" * 5000, "00-" + "0" * 32 + "-" + "0" * 16])
async def test_a_header_that_is_none_begins_a_trace_of_its_own(sent):
    """Clients may send anything."""
    async with collector() as received:
        async with recorded(received.url):
            with tracing.begin("request", parent={"traceparent": sent, "tracestate": sent}):
                pass
        assert received.one("request").parent == ""


async def test_a_collector_that_hangs_keeps_nobody():
    """Neither the work, nor the end for longer than `FAREWELL_S`."""
    async with asyncio.timeout(LIMIT_S), collector(hangs=True) as received:
        began_s = time.monotonic()
        async with recorded(received.url):
            for number in range(3000):  # more than are kept
                with tracing.begin("request", number=number):
                    pass
            worked_s = time.monotonic() - began_s
        ended_s = time.monotonic() - began_s - worked_s
        assert received.asked.is_set()
    assert worked_s < SLOW_S
    assert ended_s < tracing.FAREWELL_S + SLOW_S


async def test_without_a_collector_spans_are_lost_and_nothing_else():
    """Nobody listens there."""
    began_s = time.monotonic()
    async with recorded("http://127.0.0.1:9"):
        with tracing.begin("request"):
            pass
    assert time.monotonic() - began_s < tracing.FAREWELL_S + SLOW_S


async def test_off_is_one_span_that_does_nothing():
    """The same for all, and it costs less than a microsecond or two."""
    async with tracing.exporting(enabled=False, endpoint=None, version="1"):
        assert not tracing.is_on()
        with tracing.begin("request", alias="demo") as span, span.active():
            assert span is tracing.begin("queue")
            assert span is tracing.current()
            span.set(audio_seconds=1.0)
            span.fail("x")
            assert span.headers() == {}


def test_off_imports_nothing_of_opentelemetry():
    """Nor do the server and its engines."""
    program = "import sys, whisper_router.serve, whisper_router.tracing as t; t.begin('x')\n"
    program += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_without_the_extra_the_configuration_is_wrong():
    """And says what to install."""
    program = """
import asyncio, sys
sys.modules["opentelemetry"] = None
from whisper_router import tracing
async def main():
    async with tracing.exporting(enabled=True, endpoint=None, version="1"):
        pass
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ConfigurationError: tracing.enabled needs OpenTelemetry: pip install" in done.stderr
