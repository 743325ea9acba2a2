"""A collector that takes nothing is told of now and then."""

import asyncio
import logging
from types import SimpleNamespace

from structlog.testing import capture_logs

from support.otlp import collector
from whisper_router import tracing
from whisper_router.span_export import TELL_EVERY_S, Heard, TellingExporter

LIMIT_S = 20


class Flaky:
    """An exporter that fails as long as it is told to, and logs every time."""

    def __init__(self) -> None:
        self.is_down = True

    def export(self, spans):
        if self.is_down:
            logging.getLogger("opentelemetry.test").warning("cause")
            logging.getLogger("opentelemetry.test").error("the rest")
        return SimpleNamespace(name="FAILURE" if self.is_down else "SUCCESS")


def test_failures_are_told_once_in_a_while_and_their_end_is_too():
    """With how many spans that has cost; the first message is the reason."""
    flaky, heard, now = Flaky(), Heard(), [0.0]
    logging.getLogger("opentelemetry.test").addHandler(heard)
    exporter = TellingExporter(flaky, heard, clock=lambda: now[0])
    with capture_logs() as logs:
        for now[0] in (0.0, 1.0, 2.0, TELL_EVERY_S - 1):
            exporter.export(["span", "span"])
        flaky.is_down = False
        exporter.export(["span"])
        exporter.export(["span"])
        flaky.is_down = True
        exporter.export(["span"])
        now[0] = TELL_EVERY_S
        exporter.export(["span"])
    told = [(line["event"], line["lost"], line.get("reason")) for line in logs]
    assert told == [
        ("spans_not_exported", 2, "cause"),
        ("spans_exported_again", 8, None),
        ("spans_not_exported", 2, "cause"),
    ]


async def test_what_opentelemetry_says_of_a_wrong_address_is_told_in_a_line_of_ours(caplog):
    """Its own lines are heard, and not written; afterwards they are again."""
    library = logging.getLogger("opentelemetry")
    before = library.handlers[:]
    with capture_logs() as logs:
        async with asyncio.timeout(LIMIT_S), collector() as received:
            wrong = f"{received.url}/elsewhere"
            async with tracing.exporting(enabled=True, endpoint=wrong, version="1"):
                with tracing.begin("request"):
                    pass
    (line,) = [line for line in logs if line["event"] == "spans_not_exported"]
    assert "404" in line["reason"]
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []
    assert (library.propagate, library.handlers) == (True, before)
