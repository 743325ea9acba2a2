"""Headers that tell a key's limits, as OpenAI's answers have them. Pure."""

import math
from collections.abc import Iterator

from whisper_router.api.keys import NO_LIMITS, KeyLimits
from whisper_router.api.limits.account import Account


def limit_headers(account: Account, limits: KeyLimits) -> dict[str, str]:
    """Return what is left of each limit; nothing of what is not limited.

    `x-ratelimit-*-requests` are OpenAI's. What counts audio and what runs at a time is ours.
    """
    return {} if limits == NO_LIMITS else dict(_headers(account, limits))


def _headers(account: Account, limits: KeyLimits) -> Iterator[tuple[str, str]]:
    now_s = account.clocks.monotonic()
    if (most := limits.requests_per_minute) is not None:
        yield "x-ratelimit-limit-requests", str(most)
        yield "x-ratelimit-remaining-requests", str(max(0, most - account.window.count(now_s)))
        yield "x-ratelimit-reset-requests", duration_text(account.window.reset_s(now_s))
    if (most := limits.concurrent_requests) is not None:
        yield "x-ratelimit-limit-concurrent-requests", str(most)
        yield "x-ratelimit-remaining-concurrent-requests", str(max(0, most - account.running))
    if (most_s := limits.audio_seconds_per_day) is not None:
        left_s = max(0.0, account.audio_left_s(limits))
        yield "x-ratelimit-limit-audio-seconds", f"{most_s:.12g}"
        yield "x-ratelimit-remaining-audio-seconds", str(math.floor(left_s + 1e-6))
        yield "x-ratelimit-reset-audio-seconds", duration_text(account.clocks.left_of_day_s())


def duration_text(seconds: float) -> str:
    """Return a duration as Go writes it and OpenAI's headers do: `20ms`, `1.2s`, `6m0s`, `1h0m5s`.

    Rounded up to milliseconds, from a minute on to seconds.
    """
    if seconds <= 0:
        return "0s"
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(math.ceil(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
