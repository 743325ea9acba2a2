"""Headers of limits."""

import pytest

from whisper_router.api.keys import NO_LIMITS, KeyLimits
from whisper_router.api.limits.account import Account, Clocks
from whisper_router.api.limits.headers import duration_text, limit_headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-1.0, "0s"),
        (0.0004, "1ms"),
        (0.02, "20ms"),
        (1.0, "1s"),
        (1.2, "1.2s"),
        (59.9996, "1m0s"),
        (60.0, "1m0s"),
        (60.2, "1m1s"),
        (360.0, "6m0s"),
        (3600.0, "1h0m0s"),
        (86_399.0, "23h59m59s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str):
    """Never shorter than they are."""
    assert duration_text(seconds) == text


def test_every_limit_tells_what_is_left_of_it():
    """At noon, with one request running."""
    clocks = Clocks(monotonic=lambda: 5.0, unix=lambda: 43_200.0)
    account = Account(name="a", clocks=clocks, since_s=0.0)
    limits = KeyLimits(requests_per_minute=60, concurrent_requests=2, audio_minutes_per_day=1.5)
    account.admit(limits)
    account.charge(10.25, limits)
    assert limit_headers(account, limits) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-concurrent-requests": "2",
        "x-ratelimit-remaining-concurrent-requests": "1",
        "x-ratelimit-limit-audio-seconds": "90",
        "x-ratelimit-remaining-audio-seconds": "79",
        "x-ratelimit-reset-audio-seconds": "12h0m0s",
    }
    assert limit_headers(account, NO_LIMITS) == {}
