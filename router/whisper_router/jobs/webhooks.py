"""Calls webhooks: takes from the store what is due, and notes there what came of it.

The store is the queue, so what is not noted yet is tried again after a restart: at least once,
always with the same id.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from whisper_router import tracing
from whisper_router.audio.outbound import CONNECT_FAILURES, Outbound, reason_of
from whisper_router.errors import InvalidParameter, UrlRefused
from whisper_router.jobs.model import Delivery
from whisper_router.jobs.store import JobStore
from whisper_router.jobs.webhook_headers import check_headers, headers_of
from whisper_router.metrics import WEBHOOK_CALLS
from whisper_router.tasks import Tasks

MINUTE_S, HOUR_S = 60.0, 3600.0
SCHEDULE_S = (
    5.0,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
"""The example of the Standard Webhooks specification, 1.0.0."""
LOOK_AHEAD_S = 60.0
"""How long the sender sleeps at most: the clock may be set meanwhile."""
GONE = 410

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """How webhooks are called.

    After an attempt that failed comes the next one in `schedule_s`, and up to `jitter` (a part of
    the wait) later; after the last one the delivery is given up. `Retry-After` makes a wait longer,
    up to `max_retry_after_s`. After an error of the store nothing happens for `hold_off_s`.
    """

    timeout_s: float = 15.0
    schedule_s: Sequence[float] = SCHEDULE_S
    jitter: float = 0.1
    max_retry_after_s: float = 24 * HOUR_S
    max_concurrent: int = 8
    hold_off_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of an attempt. `is_last`: no other will do better."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float = 0.0
    is_last: bool = False

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookSender:
    """Sends the deliveries of a store. Only one sender may work on a store at a time."""

    def __init__(
        self,
        *,
        store: JobStore,
        outbound: Outbound,
        options: WebhookOptions,
        wake: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`wake` returns when something may have become due."""
        self._store, self._outbound, self._options = store, outbound, options
        self._wake, self._clock, self._tasks = wake, clock, Tasks()
        self._changed = asyncio.Event()
        self._running = set[str]()

    async def run(self) -> None:
        """Send until cancelled; attempts that run then are made again by the next sender."""
        self._tasks.spawn(self._relay_wakes(), name="wake webhooks")
        try:
            while True:
                self._changed.clear()
                wait_s = await self._start_or_hold_off()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        finally:
            await self._tasks.close_in_full()

    async def _relay_wakes(self) -> None:
        while True:
            await self._wake()
            self._changed.set()

    async def _start_or_hold_off(self) -> float:
        try:
            return await self._start()
        except Exception:
            log.exception("webhooks_not_read")
            return self._options.hold_off_s

    async def _start(self) -> float:
        """Begin what is due and has room; return for how long nothing more will be."""
        now_s = self._clock()
        # Those that run are found again: nothing was noted of them when the store was read, though
        # they may have ended since.
        busy = frozenset(self._running)
        limit = self._options.max_concurrent
        for delivery in await self._store.due(now_s=now_s + LOOK_AHEAD_S, limit=limit):
            if delivery.id in busy:
                continue
            if len(self._running) >= limit:
                break
            if delivery.next_s is not None and delivery.next_s > now_s:
                return delivery.next_s - now_s
            self._running.add(delivery.id)
            self._tasks.spawn(self._deliver(delivery), name=f"webhook {delivery.id}")
        return LOOK_AHEAD_S

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except Exception:
            # Nothing was noted, so it is still due: the receiver must not be called without end.
            log.exception("webhook_not_noted", delivery=delivery.id, job=delivery.job_id)
            await asyncio.sleep(self._options.hold_off_s)
        finally:
            self._running.discard(delivery.id)
            self._changed.set()

    async def _attempt(self, delivery: Delivery) -> None:
        began_s, ticked_s = self._clock(), time.monotonic()
        outcome = await self._traced_call(delivery, now_s=began_s)
        took_ms = round((time.monotonic() - ticked_s) * 1000)
        next_s = self._next_s(delivery, outcome)
        entry: dict[str, Any] = {
            "at": began_s,
            "status": outcome.status,
            "error": outcome.error,
            "took_ms": took_ms,
        }
        await self._store.tried(
            delivery.id,
            entry=entry,
            next_s=next_s,
            delivered_s=self._clock() if outcome.is_delivered else None,
        )
        WEBHOOK_CALLS.labels("delivered" if outcome.is_delivered else "failed").inc()
        what = "webhook_delivered" if outcome.is_delivered else "webhook_failed"
        log.info(
            what,
            delivery=delivery.id,
            job=delivery.job_id,
            status=outcome.status,
            reason=outcome.error,
            attempt=delivery.attempts + 1,
            is_given_up=next_s is None and not outcome.is_delivered,
        )

    async def _traced_call(self, delivery: Delivery, *, now_s: float) -> _Outcome:
        job = await self._store.find(delivery.job_id) if tracing.is_on() else None
        with tracing.begin(
            "webhook",
            kind=tracing.Kind.CLIENT,
            parent=job.request.trace if job else {},
            job=delivery.job_id,
            attempt=delivery.attempts + 1,
        ) as span:
            outcome = await self._call(delivery, now_s=now_s, trace=span.headers())
            span.set(http__response__status_code=outcome.status)
            if not outcome.is_delivered:
                span.fail("not_delivered")
            return outcome

    async def _call(
        self, delivery: Delivery, *, now_s: float, trace: Mapping[str, str]
    ) -> _Outcome:
        """Make one request. The body of the answer is of no interest and is not read."""
        webhook, timeout_s = delivery.webhook, self._options.timeout_s
        try:
            check_headers(webhook.headers)
            headers = headers_of(delivery, now_s=now_s)
            headers = {name: headers[name] for name in headers if name.lower() not in trace}
            async with (
                asyncio.timeout(timeout_s),
                self._outbound.request(
                    "POST", webhook.url, headers={**headers, **trace}, data=delivery.body.encode()
                ) as response,
            ):
                status = response.status
                retry_after = response.headers.get("Retry-After", "")
        except UrlRefused as error:
            return _Outcome(error=f"refused: {error}")
        except InvalidParameter as error:
            return _Outcome(error=f"refused: {error}", is_last=True)
        except CONNECT_FAILURES as error:
            return _Outcome(error=reason_of(error))
        except ValueError:  # what it says may quote what is secret
            return _Outcome(error="refused: headers or secret cannot be used", is_last=True)
        except Exception:
            log.exception("webhook_not_called", delivery=delivery.id, job=delivery.job_id)
            return _Outcome(error="the server had an error")
        if 200 <= status < 300:
            return _Outcome(status=status)
        retry_after_s = seconds_of(retry_after, now_s=self._clock())
        return _Outcome(status=status, retry_after_s=retry_after_s, is_last=status == GONE)

    def _next_s(self, delivery: Delivery, outcome: _Outcome) -> float | None:
        """Return when the next attempt is; None: there is none."""
        schedule_s = self._options.schedule_s
        is_over = delivery.attempts >= len(schedule_s)
        if outcome.is_delivered or outcome.is_last or is_over:
            return None
        late = random.uniform(1.0, 1.0 + self._options.jitter)  # noqa: S311 - no secret
        asked_s = min(outcome.retry_after_s, self._options.max_retry_after_s)
        return self._clock() + max(schedule_s[delivery.attempts] * late, asked_s)


def seconds_of(retry_after: str, *, now_s: float) -> float:
    """Return for how long a `Retry-After` header (RFC 9110 10.2.3) asks to wait; 0: it does not."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else math.inf
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now_s)
