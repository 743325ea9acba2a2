"""The figures of `whisper-router bench`. Pure; rounded against us where they are shown."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (50, 90, 95, 99)


def nearest_rank(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that so many per cent of all are not above; None: there is none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass(slots=True, kw_only=True)
class Row:
    """What was measured with one number of requests at a time. Errors are in no duration."""

    concurrency: int
    took_s: float = 0.0
    audio_s: float = 0.0
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    first_text_s: "array[float]" = field(default_factory=lambda: array("d"))
    """From the beginning of a request to the first words of its answer, of those that had any."""
    rtfs: "array[float]" = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, *, took_s: float, audio_s: float, first_text_s: float | None) -> None:
        """Count a request that was answered in full."""
        self.latencies_s.append(took_s)
        self.rtfs.append(took_s / audio_s)
        self.audio_s += audio_s
        if first_text_s is not None:
            self.first_text_s.append(first_text_s)

    @property
    def done(self) -> int:
        """How many were answered in full."""
        return len(self.latencies_s)

    @property
    def failed(self) -> int:
        """How many were not."""
        return self.errors.total()

    def as_json(self) -> dict[str, Any]:
        """Return all figures, not rounded."""
        per_s = 1 / self.took_s if self.took_s else 0.0
        return {
            "concurrency": self.concurrency,
            "requests": self.done + self.failed,
            "failed": self.failed,
            "errors": dict(self.errors),
            "took_s": self.took_s,
            "audio_s": self.audio_s,
            "latency_s": _spread(self.latencies_s),
            "first_text_s": _spread(self.first_text_s) if self.first_text_s else None,
            "rtf": _spread(self.rtfs),
            "audio_s_per_s": self.audio_s * per_s,
            "requests_per_s": self.done * per_s,
        }


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table for people; what went wrong stands under it."""
    streams = any(row.first_text_s for row in rows)
    heads = ["at once", "requests", "errors", *(f"p{p} ms" for p in PERCENTILES), "max ms"]
    heads += ["text p50 ms", "text p95 ms"] if streams else []
    heads += ["RTF p50", "RTF p95", "audio s", "audio s/s", "req/s"]
    lines = [heads, *(_cells(row, streams=streams) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    shown = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
             for line in lines]  # fmt: skip
    for row in rows:
        shown += [
            f"{row.concurrency} at once: {count} × {code}"
            for code, count in row.errors.most_common()
        ]
    return "\n".join(shown)


def _cells(row: Row, *, streams: bool) -> list[str]:
    figures = row.as_json()
    latency, first, rtf = figures["latency_s"], figures["first_text_s"] or {}, figures["rtf"]
    cells = [str(row.concurrency), str(figures["requests"]), str(row.failed)]
    cells += [_ms(latency[f"p{percent}"]) for percent in PERCENTILES] + [_ms(latency["max"])]
    cells += [_ms(first.get("p50")), _ms(first.get("p95"))] if streams else []
    cells += [_up(rtf["p50"], 3), _up(rtf["p95"], 3), f"{row.audio_s:.1f}"]
    return [*cells, _down(figures["audio_s_per_s"], 1), _down(figures["requests_per_s"], 2)]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    spread = {f"p{percent}": nearest_rank(values, percent) for percent in PERCENTILES}
    return {**spread, "max": max(values, default=None)}


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else str(math.ceil(round(seconds * 1000, 6)))


def _up(value: float | None, digits: int) -> str:
    """Return a figure of which less is better."""
    if value is None:
        return "-"
    return f"{math.ceil(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"


def _down(value: float, digits: int) -> str:
    """Return a figure of which more is better."""
    return f"{math.floor(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"
