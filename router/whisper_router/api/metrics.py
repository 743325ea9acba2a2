"""`/metrics`: all figures in Prometheus' text format, and OpenMetrics for who asks for that."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from whisper_router.api import metrics_text
from whisper_router.api.deps import DEPS, ApiDeps
from whisper_router.metrics import COUNTED, NAMESPACE, REGISTRY, expect
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.status import PoolBrief

STATES: Final = tuple(State)


def routes() -> list[web.RouteDef]:
    """Return the route."""
    return [web.get("/metrics", show_metrics)]


async def show_metrics(request: web.Request) -> web.Response:
    """GET /metrics: for keys with the scope `metrics`, or for everybody with `metrics.open`."""
    deps = request.app[DEPS]
    registry, now = CollectorRegistry(), await _snapshot(deps)
    registry.register(_Now(now))
    expect(now.briefs)
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    if content_type.startswith("text/plain; version=0.0.4"):
        body = metrics_text.encode(COUNTED, registry.collect())
    else:
        body = encode(_Both(REGISTRY, registry))
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is so at this moment."""

    version: str
    certificate_expires_s: float | None
    rejected_files: Mapping[str, bool]
    requests: int
    waiting: Mapping[str, int]
    running: Mapping[str, int]
    live: Mapping[str, int]
    jobs: Mapping[str, int]
    briefs: Mapping[str, PoolBrief]


async def _snapshot(deps: ApiDeps) -> Snapshot:
    counts = {} if deps.jobs is None else await deps.jobs.store.counts()
    return Snapshot(
        version=deps.service.version,
        certificate_expires_s=deps.certificate_expires_s(),
        rejected_files=deps.rejected_files(),
        requests=deps.progress.running(),
        waiting=deps.queues.lengths(),
        running=deps.queues.running(),
        live=deps.live.running(),
        jobs={status.value: count for status, count in counts.items()},
        briefs=deps.processes.briefs(),
    )


class _Both:
    """Two registries as one, for the encoders, which only collect."""

    def __init__(self, *registries: CollectorRegistry) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        for registry in self._registries:
            yield from registry.collect()


class _Now(Collector):
    """The figures of one moment."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now

    def collect(self) -> Iterable[Metric]:
        return families(self._now)


def families(now: Snapshot) -> Iterator[Metric]:
    """Yield the figures of one moment."""
    yield _gauge("build_info", "The running version.", {now.version: 1}, label="version")
    expires_s = now.certificate_expires_s
    yield _gauge(
        "tls_certificate_expires_timestamp_seconds",
        "Until when the certificate is good, if there is one.",
        {} if expires_s is None else {"": expires_s},
    )
    yield _gauge(
        "rejected_files",
        "1 for a file that has changed and is wrong: what was in it before is in force.",
        now.rejected_files,
        label="file",
    )
    yield _gauge("requests_in_progress", "Requests for text that run.", {"": now.requests})
    yield _gauge("queue_length", "Chunks that wait.", now.waiting, label="alias")
    yield _gauge("chunks_running", "Chunks that run.", now.running, label="alias")
    yield _gauge("live_sessions", "Live sessions.", now.live, label="alias")
    yield _gauge("jobs", "Jobs that are known.", now.jobs, label="status")
    yield from _processes(now.briefs)


def _processes(briefs: Mapping[str, PoolBrief]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        f"{NAMESPACE}_process_state",
        "1 for the state that the processes of an alias are in.",
        labels=["alias", "state"],
    )
    for alias, brief in briefs.items():
        for one in STATES:
            state.add_metric([alias, one.value], float(brief.state is one))
    yield state
    for name, about, read in (
        ("process_workers", "Chunks that the processes of an alias run at a time.", "workers"),
        ("process_leases", "Workers that have a chunk.", "leases"),
        ("process_memory_bytes", "Memory that ready processes take.", "memory_bytes"),
        ("process_gpu_memory_bytes", "The same on GPUs.", "gpu_memory_bytes"),
    ):
        values = {alias: getattr(brief, read) for alias, brief in briefs.items()}
        yield _gauge(name, about, values, label="alias")
    for name, about, read in (
        ("process_starts", "Engine processes that were started.", "starts"),
        ("process_crashes", "Ready processes that ended unasked.", "crashes"),
        ("process_recycles", "Processes replaced for having served long enough.", "recycles"),
    ):
        counted = CounterMetricFamily(f"{NAMESPACE}_{name}", about, labels=["alias"])
        for alias, brief in briefs.items():
            counted.add_metric([alias], getattr(brief, read))
        yield counted


def _gauge(
    name: str, about: str, values: Mapping[str, Any], *, label: str | None = None
) -> GaugeMetricFamily:
    labels = [] if label is None else [label]
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if labels else [], value)
    return family
