"""What becomes known of one HTTP exchange on its way, for its line in the log."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from whisper_router.api import proxies
from whisper_router.api.keys import Key
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.scheduling.dispatch import FirstTurn


class Heard(Protocol):
    """Tells how much audio a live session has heard."""

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        ...


KEY = web.RequestKey("key", Key)
MODEL = web.RequestKey("model", str)
"""The name of the model that is asked for, once it is known to be one."""
ERROR_CODE = web.RequestKey("error_code", str)
"""The code of the error that the client was told; empty for one without."""
TRACKER = web.RequestKey("tracker", Tracker)
FIRST_TURN = web.RequestKey("first_turn", FirstTurn)
HEARD = web.RequestKey("heard", Heard)
UNKNOWN_ROUTE = "unknown"


def route_of(request: web.Request) -> str:
    """Return the path as it is registered: there are only so many of them."""
    resource = request.match_info.route.resource
    return UNKNOWN_ROUTE if resource is None else resource.canonical


def audio_seconds(request: web.Request) -> float | None:
    """Return how much audio was heard, or recognised to its end; None: none was."""
    heard: Heard | None = request.get(HEARD)
    if heard is not None:
        return round(heard.seconds, 3)
    tracker: Tracker | None = request.get(TRACKER)
    if tracker is None or tracker.report.stage is not Stage.DONE:
        return None
    duration_s = tracker.report.duration_s
    return None if duration_s is None else round(duration_s, 3)


def _times(request: web.Request) -> Mapping[str, float]:
    """Return where its time went, as `/v1/activity` does: the rest of it is the upload's."""
    first: FirstTurn | None = request.get(FIRST_TURN)
    tracker: Tracker | None = request.get(TRACKER)
    if first is None or first.waited_s is None or tracker is None or tracker.received_at_s is None:
        return {}
    work_s = max(0.0, time.monotonic() - tracker.received_at_s - first.waited_s)
    return {"wait_s": round(first.waited_s, 3), "work_s": round(work_s, 3)}


def audit_fields(request: web.Request, status: int) -> dict[str, Any]:
    """Return what the log says of a request besides its id: no text, no query and no file name."""
    key = request.get(KEY)
    known = {
        "key": None if key is None else key.name,
        "client": proxies.client_address(request),
        "route": route_of(request),
        "model": request.get(MODEL),
        "code": request.get(ERROR_CODE) or None,
        "bytes_in": request.content.total_bytes,
        "audio_s": audio_seconds(request),
        **_times(request),
    }
    return {
        "method": request.method,
        "status": status,
        **{name: value for name, value in known.items() if value is not None},
    }
