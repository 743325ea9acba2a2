"""What is no HTTP, or more than is taken: the application never sees it, but it is accounted for.

Such requests have no method, no route and no key that could be believed: nothing of them is shown.
"""

from typing import Final

import structlog
from aiohttp import web

from whisper_router.api.audit import AuditLog
from whisper_router.api.exchange import UNKNOWN_ROUTE
from whisper_router.api.wrong_keys import PerAddress
from whisper_router.metrics import REQUESTS

OTHER_METHOD: Final = "other"

log = structlog.get_logger(__name__)


class Malformed:
    """Counts what was refused unread, and writes its lines.

    The log has some lines per address in a minute, and then one number; the audit has them all.
    """

    def __init__(
        self, audit: AuditLog | None, *, service: str = "", shown: PerAddress | None = None
    ) -> None:
        """`service` is what answers call the server."""
        self._audit, self.service = audit, service
        self._shown = shown or PerAddress("requests_malformed")

    def note(
        self, request_id: str, *, address: str, status: int, code: str | None, kind: str
    ) -> None:
        """Take note of one that was answered; `kind` is the type of the error."""
        REQUESTS.labels(OTHER_METHOD, UNKNOWN_ROUTE, str(status)).inc()
        known = {"client": address, "status": status, **({"code": code} if code else {})}
        if not self._shown.is_too_many(address):
            log.info("request_malformed", request_id=request_id, error=kind, **known)
        if self._audit is not None:
            self._audit.write({"request_id": request_id, **known, "route": UNKNOWN_ROUTE})


MALFORMED = web.AppKey("malformed", Malformed)
