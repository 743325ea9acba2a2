"""Every figure that is counted or measured while the program runs: name, unit, labels, buckets.

Names and units follow Prometheus: https://prometheus.io/docs/practices/naming/. Labels are bounded:
aliases are those that somebody configured or that the catalogue knows, routes are paths as they are
registered, codes are those of `errors`. What can be read when it is asked for (queues, processes,
memory, jobs) is not here but in `api.metrics`.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # each series would come twice, and Prometheus does not need the second

NAMESPACE = "whisper_router"
REGISTRY = CollectorRegistry()
"""Not the library's own: other code in the same process may use that."""

COUNTED: list[Counter | Histogram] = []
"""What is in it, in the order of the names below."""

SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
RATIOS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def _counter(name: str, about: str, *labels: str) -> Counter:
    made = Counter(name, about, labels, namespace=NAMESPACE, registry=REGISTRY)
    COUNTED.append(made)
    return made


def _histogram(
    name: str, about: str, *labels: str, buckets: tuple[float, ...] = SHORT_S
) -> Histogram:
    made = Histogram(name, about, labels, namespace=NAMESPACE, registry=REGISTRY, buckets=buckets)
    COUNTED.append(made)
    return made


REQUESTS = _counter(
    "http_requests", "Requests that were answered, or whose client left (499).",
    "method", "route", "status",
)  # fmt: skip
REQUEST_SECONDS = _histogram(
    "http_request_duration_seconds", "From the headers of a request to the end of its answer.",
    "route", buckets=LONG_S,
)  # fmt: skip
ERRORS = _counter("errors", "Errors that clients were told, by code (none: without one).", "code")
WRONG_KEYS = _counter("wrong_keys", "Requests with a key that is not, or no longer, good.")
CONNECTIONS_CUT = _counter(
    "connections_cut",
    "Connections that were closed for the sake of others (docs/operations.md).",
    "reason",
)
TRANSCRIPTIONS = _counter(
    "transcriptions", "Files that were transcribed or not.", "alias", "outcome"
)
AUDIO_SECONDS = _counter("audio_seconds", "Audio in files that were transcribed.", "alias")
SPEECH_SECONDS = _counter(
    "speech_seconds", "Speech that was found in them; the rest never reached an engine.", "alias"
)
REALTIME_FACTOR = _histogram(
    "realtime_factor", "What a file took, by what it lasts: below 1 is faster than speech.",
    "alias", buckets=RATIOS,
)  # fmt: skip
FIRST_DELTA_SECONDS = _histogram(
    "time_to_first_delta_seconds", "From the headers of a request to the first text of its stream.",
    buckets=LONG_S,
)  # fmt: skip
QUEUE_SECONDS = _histogram(
    "queue_wait_seconds", "How long chunks waited for a worker.", "alias", "lane", buckets=LONG_S
)
CHUNK_SECONDS = _histogram(
    "chunk_duration_seconds", "How long a worker had a chunk.", "alias", buckets=LONG_S
)
CHUNKS_LOST = _counter(
    "chunks_lost", "Attempts at a chunk that failed or were interrupted.", "alias", "reason"
)
LOAD_SECONDS = _histogram(
    "model_load_seconds", "From the start of an engine process until it served.",
    "alias", buckets=LONG_S,
)  # fmt: skip
START_FAILURES = _counter("start_failures", "Engine processes that did not serve.", "alias")
LIVE_LAG_SECONDS = _histogram(
    "live_lag_seconds", "By how much the text of live sessions was behind what was said."
)
LIVE_SESSIONS_ENDED = _counter("live_sessions_ended", "Live sessions that are over.", "alias")
JOBS_ENDED = _counter("jobs_ended", "Jobs that have ended, by their status.", "status")
WEBHOOK_CALLS = _counter("webhook_calls", "Attempts to call a webhook.", "outcome")
KEY_REQUESTS = _counter(
    "key_requests", "Requests for text, live sessions and jobs, by the name of the key.", "key"
)
KEY_AUDIO_SECONDS = _counter(
    "key_audio_seconds", "Audio that was recognised, by the name of the key.", "key"
)
LIMITS_REACHED = _counter(
    "limits_reached", "Requests and sessions that a limit of their key has ended.", "limit"
)
DOWNLOADS = _counter("downloads", "Downloads of model files that have ended.", "outcome")

# Prometheus sees a counter grow only from the first value that it has read: what an alert looks for
# is there before it happens.
for _counted, _outcomes in (
    (WEBHOOK_CALLS, ("delivered", "failed")),
    (DOWNLOADS, ("done", "failed")),
):
    for _outcome in _outcomes:
        _counted.labels(_outcome)


def expect(aliases: Iterable[str]) -> None:
    """Have the failures of these aliases counted from zero, before there are any."""
    for alias in aliases:
        START_FAILURES.labels(alias)
