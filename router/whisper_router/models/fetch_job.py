"""What the store and its download program say to each other: one JSON object per line.

The store writes one `FetchJob` to the program's stdin and keeps that open; the program answers with
events on stdout. Anything else it writes is not ours and is kept for the error report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from whisper_router.errors import ModelUnavailable, RouterError, ShuttingDown, StorageFull
from whisper_router.models.source import HubFile, RemoteFile, UrlFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How patient a download is.

    It is interrupted when no byte came for `stall_s`, and given up after `attempts` interruptions
    in a row that brought no byte; `backoff_s` is the first pause between two attempts, the next are
    twice as long each, up to 30 s. `min_free_bytes` of the disk stay free.
    """

    stall_s: float = 60.0
    attempts: int = 5
    backoff_s: float = 1.0
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchJob:
    """Get `source` to `target`. `endpoint` and `token` are for the hub; None: its own defaults."""

    source: RemoteFile
    target: Path
    lock: Path
    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    limits: FetchLimits = field(default_factory=FetchLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. `total_bytes` is None while it is not known.

    `waiting`: another process fetches this file, and this one waits for it. `trouble`: why it has
    just been interrupted; it is tried again.
    """

    done_bytes: int = 0
    total_bytes: int | None = None
    waiting: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The file is complete, verified and in its place."""

    fetched_bytes: int
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It did not work. The message is for the user."""

    code: str
    message: str
    retry_after_s: int

    def error(self) -> RouterError:
        """Return the exception that says this."""
        kinds = {kind.code: kind for kind in (StorageFull, ShuttingDown)}
        error = kinds.get(self.code, ModelUnavailable)(self.message)
        error.retry_after_s = self.retry_after_s
        return error


FetchEvent = Progress | Done | Failed
EVENTS: Mapping[str, type[FetchEvent]] = {"progress": Progress, "done": Done, "failed": Failed}


def encode_job(job: FetchJob) -> bytes:
    """Return `job` as a line."""
    table = asdict(job) | {"target": str(job.target), "lock": str(job.lock)}
    table["kind"] = "hub" if isinstance(job.source, HubFile) else "url"
    return json.dumps(table).encode() + b"\n"


def decode_job(line: bytes) -> FetchJob:
    """Return the job in `line`."""
    table: dict[str, Any] = json.loads(line)
    kind = HubFile if table["kind"] == "hub" else UrlFile
    return FetchJob(
        source=kind(**table["source"]),
        target=Path(table["target"]),
        lock=Path(table["lock"]),
        endpoint=table["endpoint"],
        token=table["token"],
        limits=FetchLimits(**table["limits"]),
    )


def encode_event(event: FetchEvent) -> str:
    """Return `event` as a line without its end."""
    name = next(name for name, kind in EVENTS.items() if isinstance(event, kind))
    return json.dumps({"event": name, **asdict(event)})


def decode_event(line: bytes) -> FetchEvent | None:
    """Return the event in `line`, or None: it holds none."""
    try:
        table = json.loads(line)
        return EVENTS[table.pop("event")](**table)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
