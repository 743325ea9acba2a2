"""Traces for OpenTelemetry: where a request's time goes, and which part of it is another server's.

Off unless the configuration says otherwise, and then nothing of OpenTelemetry is imported: `begin`
gives out one and the same span that does nothing. Spans hold names of models, numbers, ids and
codes; never text, names of files, or keys.

A span is made current only around code that runs in one task (`active`): a generator's caller may
close it in another context.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import Enum
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

import structlog

from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.span_export import Heard, TellingExporter, listening

PREFIX: Final = "whisper_router."
HEADERS: Final = ("traceparent", "tracestate")
"""Of W3C Trace Context."""
FAREWELL_S: Final = 2.0
"""How long the end of the program waits for the last spans to be sent."""
EXPORT_TIMEOUT_S: Final = 5.0
EXTRA: Final = "pip install 'whisper-router[otel]'"

Value = str | int | float | bool | None

log = structlog.get_logger(__name__)


class Kind(Enum):
    """What a span is to the one above it, in the words of OpenTelemetry."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    CONSUMER = "CONSUMER"


class Span:
    """A stretch of work; leaving its block ends it. This one, of which there is one, does nothing.

    An error that leaves the block is noted by its code.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """End the span."""

    def set(self, **attributes: Value) -> None:
        """Note what is known of it; None is nothing. A name with `__` is spelt with a point."""

    def fail(self, code: str) -> None:
        """Note that it failed, with an error of this code."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers by which another server takes part in the trace."""
        return {}

    @contextmanager
    def active(self) -> Iterator[Self]:
        """Have spans that are begun in the block, and in tasks of it, be parts of this one."""
        yield self


NOTHING: Final = Span()
_current: ContextVar[Span] = ContextVar("current_span", default=NOTHING)


class _Tracing:
    """What is set while spans are recorded."""

    tracer: Any = None


class _Recorded(Span):
    """A span of OpenTelemetry."""

    __slots__ = ("_api", "_span")

    def __init__(self, api: Any, span: Any) -> None:
        self._api, self._span = api, span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.set(cancelled=True)
        elif error is not None:
            self.fail(code_of(error))
        self._span.end()

    def set(self, **attributes: Value) -> None:
        for name, value in attributes.items():
            if value is not None:
                spelt = name.replace("__", ".") if "__" in name else PREFIX + name
                self._span.set_attribute(spelt, value)

    def fail(self, code: str) -> None:
        self.set(error__type=code)
        self._span.set_status(self._api.StatusCode.ERROR)

    def headers(self) -> Mapping[str, str]:
        sent: dict[str, str] = {}
        _propagator().inject(sent, self.context())
        return sent

    @contextmanager
    def active(self) -> Iterator[Self]:
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def context(self) -> Any:
        """Return what OpenTelemetry begins a part of this span with."""
        return self._api.set_span_in_context(self._span)


def is_on() -> bool:
    """Tell whether spans are recorded."""
    return _Tracing.tracer is not None


def current() -> Span:
    """Return the span that is active here."""
    return _current.get()


def begin(
    name: str,
    *,
    kind: Kind = Kind.INTERNAL,
    parent: Span | Mapping[str, str] | None = None,
    **attributes: Value,
) -> Span:
    """Begin a part of `parent`: a span, or headers that came from elsewhere; None: of `current`.

    Attributes are named as in `Span.set`. The span is not active; see above.
    """
    if _Tracing.tracer is None:
        return NOTHING
    api = import_module("opentelemetry.trace")
    above = current() if parent is None else parent
    if isinstance(above, _Recorded):
        context = above.context()
    else:
        carried = above if isinstance(above, Mapping) else {}
        context = _propagator().extract(
            dict(carried), import_module("opentelemetry.context").Context()
        )
    made = _Tracing.tracer.start_span(name, context, kind=api.SpanKind[kind.value])
    span = _Recorded(api, made)
    span.set(**attributes)
    return span


def code_of(error: BaseException) -> str:
    """Return how an error is told: by its code, or by its class; its text may say too much."""
    return (error.code if isinstance(error, RouterError) else None) or type(error).__name__


@asynccontextmanager
async def exporting(*, enabled: bool, endpoint: str | None, version: str) -> AsyncIterator[None]:
    """Record spans until the block ends, and send them to `endpoint` by OTLP over HTTP.

    None: where the variables of OpenTelemetry say (`OTEL_EXPORTER_OTLP_ENDPOINT`), which hold for
    all else, too. A collector that does not answer costs spans and nothing else.

    Raises:
        ConfigurationError: the extra is not installed, or a variable is wrong.
    """
    if not enabled:
        yield
        return
    with listening() as heard:
        provider = await asyncio.to_thread(_provider, endpoint, version, heard)
        _Tracing.tracer = provider.get_tracer("whisper_router", version)
        log.info("tracing")
        try:
            yield
        finally:
            _Tracing.tracer = None
            await _close(provider)


def _provider(endpoint: str | None, version: str, heard: Heard) -> Any:
    try:
        sdk = import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        resources = import_module("opentelemetry.sdk.resources")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        raise ConfigurationError(f"tracing.enabled needs OpenTelemetry: {EXTRA}") from error
    about = {"service.name": "whisper-router", "service.version": version}
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    try:
        exporter = otlp.OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S)
        # The variables' attributes come last, so that a service can be named by them.
        resource = resources.Resource(about).merge(resources.OTELResourceDetector().detect())
        provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(export.BatchSpanProcessor(TellingExporter(exporter, heard)))
    except ValueError as error:
        raise ConfigurationError(f"tracing: {error}") from error
    return provider


async def _close(provider: Any) -> None:
    """Send what is left, but not for longer than `FAREWELL_S`: the collector may hang."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        provider.shutdown()
        try:
            loop.call_soon_threadsafe(closed.set)
        except RuntimeError:  # too late: the loop is closed
            return

    # No thread of the loop's pool: the interpreter would wait for that one at its end.
    threading.Thread(target=close, name="send last spans", daemon=True).start()
    try:
        async with asyncio.timeout(FAREWELL_S):
            await closed.wait()
    except TimeoutError:
        log.warning("spans_not_sent", waited_s=FAREWELL_S)


def _propagator() -> Any:
    module = import_module("opentelemetry.trace.propagation.tracecontext")
    return module.TraceContextTextMapPropagator()
