"""A collector of traces: OTLP over HTTP, as OpenTelemetry's own takes it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support import kept_logs


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSpan:
    """What a span says; ids in hexadecimal."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    began_s: float
    ended_s: float
    attributes: dict[str, object]
    has_failed: bool


@dataclass
class Collector:
    """What came. `hangs`: it takes what is sent and does not answer."""

    url: str = ""
    hangs: bool = False
    spans: list[TracedSpan] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, *names: str) -> list[TracedSpan]:
        """Return all spans once there is one of each name."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: set(names) <= {span.name for span in self.spans})
            return list(self.spans)

    def one(self, name: str, trace: str | None = None) -> TracedSpan:
        """Return the one span of this name, of this trace if one is named."""
        (found,) = [
            span for span in self.spans if span.name == name and trace in {None, span.trace}
        ]
        return found


@asynccontextmanager
async def collector(*, hangs: bool = False) -> AsyncIterator[Collector]:
    """Take spans on a free port."""
    received, over = Collector(hangs=hangs), asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        received.asked.set()
        if received.hangs:
            await over.wait()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        received.spans += _spans(message, received.services)
        async with received.arrived:
            received.arrived.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    received.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield received
    finally:
        over.set()
        await runner.cleanup()
        lines = (json.dumps([span.name, span.attributes]) for span in received.spans)
        text = "".join(f"{line}\n" for line in lines)
        await asyncio.to_thread(kept_logs.keep, f"traces-{runner.addresses or id(app)}", text)


def _spans(message: ExportTraceServiceRequest, services: set[str]) -> list[TracedSpan]:
    found = []
    for resource in message.resource_spans:
        services.update(
            item.value.string_value
            for item in resource.resource.attributes
            if item.key == "service.name"
        )
        found += [
            TracedSpan(
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                name=span.name,
                kind=span.kind,
                began_s=span.start_time_unix_nano / 1e9,
                ended_s=span.end_time_unix_nano / 1e9,
                attributes={
                    item.key: getattr(item.value, item.value.WhichOneof("value"))
                    for item in span.attributes
                },
                has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
            )
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    return found
