"""Percentiles and rounding of `whisper-router bench`."""

import pytest

from whisper_router.commands.bench_figures import Row, nearest_rank, table


def row(latencies_s: list[float], *, audio_s: float = 2.0, took_s: float = 1.0) -> Row:
    made = Row(concurrency=2, took_s=took_s)
    for latency_s in latencies_s:
        made.add(took_s=latency_s, audio_s=audio_s, first_text_s=None)
    return made


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 15), (5, 15), (30, 20), (40, 20), (50, 35), (95, 50), (100, 50)]
)
def test_a_percentile_is_a_value_that_was_measured(percent, value):
    """The nearest rank: never between two, and of few values rather the worse one."""
    assert nearest_rank([50, 15, 40, 20, 35], percent) == value
    assert nearest_rank([], percent) is None
    assert nearest_rank(list(range(1, 101)), 99) == 99


def test_nothing_is_rounded_in_our_favour():
    """Durations up, speed down."""
    shown = table([row([0.1001] * 3, took_s=0.7)])
    heads, figures = (line.split("  ") for line in shown.splitlines())
    cells = dict(
        zip(filter(None, map(str.strip, heads)), shown.splitlines()[1].split(), strict=True)
    )
    assert (cells["p50 ms"], cells["max ms"]) == ("101", "101")
    assert cells["RTF p50"] == "0.051"
    assert cells["audio s/s"] == "8.5"
    assert cells["req/s"] == "4.28"
    assert len(figures) > 3


def test_exact_figures_are_not_rounded_at_all():
    """0.1 s is 100 ms, though no floating-point number is."""
    assert " 100 " in table([row([0.1])])
    figures = row([0.1, 0.3]).as_json()
    assert figures["latency_s"] == {"p50": 0.1, "p90": 0.3, "p95": 0.3, "p99": 0.3, "max": 0.3}
    assert figures["audio_s_per_s"] == 4.0


def test_errors_are_counted_by_code_and_slow_nobody_down():
    """A refusal is quick; it must not make the others look better."""
    measured = row([1.0])
    measured.errors.update(["queue_full", "queue_full", "timeout"])
    shown = table([measured]).splitlines()
    assert shown[1].split()[:4] == ["2", "4", "3", "1000"]
    assert shown[2:] == ["2 at once: 2 × queue_full", "2 at once: 1 × timeout"]


def test_a_row_without_any_answer_has_no_figures():
    """Nor does the time to the first text show where nothing was streamed."""
    measured = Row(concurrency=1, took_s=1.0)
    measured.errors["timeout"] += 1
    assert table([measured]).splitlines()[1].split()[3:8] == ["-"] * 5
    assert "text p50" not in table([measured])
    measured.add(took_s=1.0, audio_s=1.0, first_text_s=0.25)
    assert "text p50" in table([measured])
