"""Writes config/grafana/whisper-router.json, a dashboard for the figures of /metrics.

python tools/dashboard.py --write | --check
"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "config" / "grafana" / "whisper-router.json"
RATE = "[$__rate_interval]"
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


def _share(quantile: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({quantile}, "
        f"sum by ({labels}) (rate(whisper_router_{metric}_bucket{RATE})))"
    )


PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Requests", "reqps", [
        (f"sum by (status) (rate(whisper_router_http_requests_total{RATE}))", "{{status}}"),
    ]),
    ("Errors by code", "reqps", [
        (f"sum by (code) (rate(whisper_router_errors_total{RATE}))", "{{code}}"),
    ]),
    ("Cut connections and wrong keys", "ops", [
        (f"sum by (reason) (rate(whisper_router_connections_cut_total{RATE}))", "{{reason}}"),
        (f"rate(whisper_router_wrong_keys_total{RATE})", "wrong keys"),
    ]),
    ("Certificate", "s", [
        ("whisper_router_tls_certificate_expires_timestamp_seconds - time()", "left"),
    ]),
    ("Files that are wrong", "short", [
        ("whisper_router_rejected_files", "{{file}}"),
    ]),
    ("Request duration", "s", [
        (_share(0.5, "http_request_duration_seconds"), "p50"),
        (_share(0.95, "http_request_duration_seconds"), "p95"),
    ]),
    ("Queue", "short", [
        ("whisper_router_queue_length", "{{alias}} waits"),
        ("whisper_router_chunks_running", "{{alias}} runs"),
        ("whisper_router_requests_in_progress", "requests"),
    ]),
    ("Wait for a worker", "s", [
        (_share(0.5, "queue_wait_seconds", "lane"), "{{lane}} p50"),
        (_share(0.95, "queue_wait_seconds", "lane"), "{{lane}} p95"),
    ]),
    ("Chunk duration", "s", [
        (_share(0.5, "chunk_duration_seconds", "alias"), "{{alias}} p50"),
        (_share(0.95, "chunk_duration_seconds", "alias"), "{{alias}} p95"),
    ]),
    ("Audio per second", "suffix: s/s", [
        (f"sum by (alias) (rate(whisper_router_audio_seconds_total{RATE}))", "{{alias}}"),
    ]),
    ("Realtime factor", "short", [
        (_share(0.5, "realtime_factor", "alias"), "{{alias}} p50"),
        (_share(0.95, "realtime_factor", "alias"), "{{alias}} p95"),
    ]),
    ("Share of speech", "percentunit", [
        (
            f"sum(rate(whisper_router_speech_seconds_total{RATE})) "
            f"/ sum(rate(whisper_router_audio_seconds_total{RATE}))",
            "speech",
        ),
    ]),
    ("Files", "ops", [
        (
            f"sum by (outcome) (rate(whisper_router_transcriptions_total{RATE}))",
            "{{outcome}}",
        ),
    ]),
    ("First text of a stream", "s", [
        (_share(0.5, "time_to_first_delta_seconds"), "p50"),
        (_share(0.95, "time_to_first_delta_seconds"), "p95"),
    ]),
    ("Live sessions", "short", [
        ("whisper_router_live_sessions", "{{alias}}"),
        (f"sum(rate(whisper_router_live_sessions_ended_total{RATE}))", "ended per second"),
    ]),
    ("Live lag", "s", [
        (_share(0.5, "live_lag_seconds"), "p50"),
        (_share(0.95, "live_lag_seconds"), "p95"),
    ]),
    ("Process states", "short", [
        ("whisper_router_process_state == 1", "{{alias}} {{state}}"),
        ("whisper_router_process_workers", "{{alias}} workers"),
        ("whisper_router_process_leases", "{{alias}} busy"),
    ]),
    ("Memory of engines", "bytes", [
        ("whisper_router_process_memory_bytes", "{{alias}}"),
        ("whisper_router_process_gpu_memory_bytes > 0", "{{alias}} GPU"),
    ]),
    ("Starts, crashes, recycles", "short", [
        (f"increase(whisper_router_process_starts_total{RATE})", "{{alias}} starts"),
        (f"increase(whisper_router_process_crashes_total{RATE})", "{{alias}} crashes"),
        (f"increase(whisper_router_process_recycles_total{RATE})", "{{alias}} recycles"),
        (f"increase(whisper_router_start_failures_total{RATE})", "{{alias}} did not start"),
        (f"increase(whisper_router_chunks_lost_total{RATE})", "{{alias}} chunks {{reason}}"),
    ]),
    ("Model load", "s", [
        (_share(0.95, "model_load_seconds", "alias"), "{{alias}} p95"),
    ]),
    ("Requests by key", "reqps", [
        (f"sum by (key) (rate(whisper_router_key_requests_total{RATE}))", "{{key}}"),
    ]),
    ("Audio by key per second", "suffix: s/s", [
        (f"sum by (key) (rate(whisper_router_key_audio_seconds_total{RATE}))", "{{key}}"),
    ]),
    ("Limits of keys", "reqps", [
        (f"sum by (limit) (rate(whisper_router_limits_reached_total{RATE}))", "{{limit}}"),
    ]),
    ("Jobs, webhooks, downloads", "short", [
        ("whisper_router_jobs", "jobs {{status}}"),
        (f"increase(whisper_router_jobs_ended_total{RATE})", "ended {{status}}"),
        (f"increase(whisper_router_webhook_calls_total{RATE})", "webhooks {{outcome}}"),
        (f"increase(whisper_router_downloads_total{RATE})", "downloads {{outcome}}"),
    ]),
]  # fmt: skip


def dashboard() -> dict[str, object]:
    """Return the dashboard as Grafana imports it."""
    return {
        "title": "whisper-router",
        "uid": "whisper-router",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": [_panel(number, *panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, title: str, unit: str, targets: list[tuple[str, str]]) -> dict[str, object]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": source,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "expr": expr,
                "legendFormat": legend,
                "datasource": source,
            }
            for at, (expr, legend) in enumerate(targets)
        ],
    }


def main() -> int:
    """Write the file, or tell whether it is up to date."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--write" in sys.argv:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET} is not what tools/dashboard.py makes: run it with --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
