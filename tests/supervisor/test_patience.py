"""Silence is counted, not length. No clock: times are numbers."""

import pytest

from whisper_router.supervisor.patience import Patience, Vitals

MIB = 1024 * 1024


def patience() -> Patience:
    return Patience(now_s=100.0, silence_s=10.0, limit_s=60.0)


def test_silence_is_given_up_when_it_is_over_and_not_before():
    """The limit is exact."""
    waiting = patience()
    assert waiting.verdict(now_s=109.9) is None
    assert waiting.verdict(now_s=110.0) == "it showed no sign of progress for 10 s"


@pytest.mark.parametrize(
    "vitals",
    [
        Vitals(output_bytes=1),
        Vitals(rss_bytes=MIB),
        Vitals(cpu_s=5.0),
    ],
)
def test_a_sign_of_life_begins_the_silence_anew(vitals):
    """Output, memory and CPU time count, each alone."""
    waiting = patience()
    waiting.hear(vitals, now_s=109.0)
    assert waiting.verdict(now_s=118.9) is None
    assert waiting.verdict(now_s=119.0) is not None


@pytest.mark.parametrize(
    "vitals",
    [
        Vitals(),
        Vitals(rss_bytes=MIB - 1),
        Vitals(cpu_s=0.2),
    ],
)
def test_a_trickle_is_no_sign_of_life(vitals):
    """A process that only answers our probes uses a little CPU: that is not loading."""
    waiting = patience()
    waiting.hear(vitals, now_s=109.0)
    assert waiting.verdict(now_s=110.0) is not None


def test_slow_growth_adds_up():
    """A start from a slow disk grows by less than the threshold per sample, but it grows."""
    waiting = patience()
    for step in range(1, 100):
        waiting.hear(Vitals(rss_bytes=step * MIB // 4), now_s=100 + step / 2)
    assert waiting.verdict(now_s=150.0) is None


def test_progress_without_end_meets_the_limit():
    """A program that computes for ever is not waited for for ever."""
    waiting = patience()
    for second in range(60):
        waiting.hear(Vitals(cpu_s=second), now_s=100.0 + second)
    assert waiting.verdict(now_s=160.0) == "it was not ready after 60 s"
