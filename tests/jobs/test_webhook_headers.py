"""What a webhook carries besides its body."""

import base64
import hashlib
import hmac

import pytest

from whisper_router.errors import InvalidParameter
from whisper_router.jobs.model import Delivery, Webhook
from whisper_router.jobs.webhook_headers import check_webhook, headers_of

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL = "http://127.0.0.1:1/"


def delivery(body: str = '{"id": "é"}', **webhook) -> Delivery:
    return Delivery(id="msg_1", job_id="j", webhook=Webhook(url=URL, **webhook), body=body)


def signature(key: bytes, text: str) -> str:
    """Compute it from the specification alone."""
    return "v1," + base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def test_the_signature_is_over_id_time_and_body():
    """Standard Webhooks 1.0.0, "Signature scheme"; the time is in whole seconds."""
    headers = headers_of(delivery(secret=SECRET), now_s=1_674_087_231.9)
    assert headers == {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": "1674087231",
        "webhook-signature": signature(KEY, 'msg_1.1674087231.{"id": "é"}'),
    }


def test_without_a_secret_there_is_no_signature():
    """The id and the time are there all the same, and the user's own headers."""
    headers = headers_of(delivery(headers={"X-Mine": "1"}), now_s=5.0)
    assert set(headers) == {"X-Mine", "Content-Type", "webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("=")])
def test_a_secret_may_lack_its_prefix_and_its_padding(secret: str):
    """As the specification's libraries take it."""
    check_webhook(Webhook(url=URL, secret=secret))
    made = headers_of(delivery(secret=secret), now_s=5.0)["webhook-signature"]
    assert made == signature(KEY, 'msg_1.5.{"id": "é"}')


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_MfKQ9r8GKY", "whsec_" + "A" * 88, "whsec_!" + "A" * 31, "é" * 32],
)
def test_other_secrets_are_refused_without_being_repeated(secret: str):
    """Too short, too long, no Base64."""
    with pytest.raises(InvalidParameter) as refusal:
        check_webhook(Webhook(url=URL, secret=secret), param="webhook.secret")
    assert refusal.value.param == "webhook.secret"
    assert secret in {"", "whsec_"} or secret not in str(refusal.value)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!"])
def test_nothing_is_signed_with_a_secret_that_cannot_be_used(secret: str):
    """A signature with an empty key would look like one."""
    with pytest.raises(ValueError, match="secret"):
        headers_of(delivery(secret=secret), now_s=5.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\n2"),
        ("X-A", "1\r2"),
        ("X-A", "\0"),
        ("X-A", "\u2028"),
        ("X-A\r\nX-B", "1"),
        ("X A", "1"),
        ("X-A:", "1"),
        ("", "1"),
        ("é", "1"),
        ("Host", "a"),
        ("content-LENGTH", "1"),
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Keep-Alive", "1"),
        ("Upgrade", "h2c"),
        ("TE", "trailers"),
        ("Trailer", "a"),
        ("Expect", "100-continue"),
        ("Proxy-Authorization", "a"),
        ("Webhook-Id", "a"),
        ("Webhook-Timestamp", "1"),
        ("Webhook-Signature", "v1,a"),
        ("X-Long", "a" * 9000),
    ],
)
def test_headers_that_would_break_the_request_are_refused(name: str, value: str):
    """Those of the connection, those that the sender sets, and what is no header."""
    with pytest.raises(InvalidParameter) as refusal:
        check_webhook(Webhook(url=URL, headers={name: value}))
    assert refusal.value.param == "webhook"


def test_too_many_headers_are_refused():
    """Each of them is fine."""
    with pytest.raises(InvalidParameter, match="at most 32"):
        check_webhook(Webhook(url=URL, headers={f"X-{n}": "1" for n in range(33)}))


def test_usual_headers_are_taken():
    """A key for the receiver, a name of one's own, text beyond ASCII."""
    headers = {"Authorization": "Bearer a.b~c", "User-Agent": "mine/1", "X-Note": "grüß\tGott"}
    check_webhook(Webhook(url=URL, headers=headers, secret=SECRET))
