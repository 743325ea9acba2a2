"""What is sent with a webhook: the user's own headers, and the signature. Pure.

The signature is that of the Standard Webhooks specification, 1.0.0.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook as Signer

from whisper_router.errors import InvalidParameter
from whisper_router.jobs.model import Delivery, Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
SECRET_BYTES = range(24, 65)
MAX_HEADERS = 32
MAX_HEADER_CHARACTERS = 8190
OURS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
"""Headers that the sender sets, or that are about the connection (RFC 9110 7.6.1)."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def check_webhook(webhook: Webhook, *, param: str = "webhook") -> None:
    """Check headers and secret; the address is `Outbound.check`'s.

    Raises:
        InvalidParameter: a header may not be set or holds what none may, or the secret is none of
            the specification's (`whsec_` and 24 to 64 bytes in Base64).
    """
    check_headers(webhook.headers, param=param)
    if webhook.secret is not None and len(_key(webhook.secret)) not in SECRET_BYTES:
        raise InvalidParameter(
            "The secret of a webhook is 24 to 64 bytes in Base64 after 'whsec_'.", param=param
        )


def check_headers(headers: Mapping[str, str], *, param: str = "webhook") -> None:
    """Check the user's own headers; see `check_webhook`."""
    size = sum(len(name) + len(value) for name, value in headers.items())
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_CHARACTERS:
        raise InvalidParameter(
            f"A webhook has at most {MAX_HEADERS} headers with {MAX_HEADER_CHARACTERS} characters.",
            param=param,
        )
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidParameter(
                f"The header {name[:80]!r} of the webhook holds what no header may.", param=param
            )
        if name.lower() in OURS or name.lower().startswith("proxy-"):
            raise InvalidParameter(f"The header '{name}' cannot be set on a webhook.", param=param)


def headers_of(delivery: Delivery, *, now_s: float) -> Mapping[str, str]:
    """Return all headers of an attempt; without a secret there is no signature.

    Raises:
        ValueError: the secret is empty or no Base64.
    """
    webhook = delivery.webhook
    headers = {
        **webhook.headers,
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now_s)),
    }
    if webhook.secret is not None:
        key = _key(webhook.secret)
        if not key:
            raise ValueError("the secret cannot be used")
        moment = datetime.fromtimestamp(int(now_s), tz=UTC)
        headers["webhook-signature"] = Signer(key).sign(delivery.id, moment, delivery.body)
    return headers


def _key(secret: str) -> bytes:
    """Return the bytes of a secret; none: it is no Base64. Its padding may be left out."""
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
