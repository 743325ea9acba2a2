"""Certificates and keys as they are found on disk, from good to useless."""

import os
import time

import pytest

from support.certificates import make_certificate, openssl
from whisper_router.api.certificates import DAY_S, Certificates, load_pair
from whisper_router.errors import ConfigurationError


@pytest.fixture
def files(tmp_path):
    return make_certificate(tmp_path)


def test_a_good_pair_is_known_until_when_it_is_good(files):
    files.key.chmod(0o600)
    pair = load_pair(files.certificate, files.key)
    assert pair.days_left(time.time()) == pytest.approx(30, abs=0.1)
    assert list(pair.warnings(time.time())) == []
    [soon] = pair.warnings(time.time() + 20 * DAY_S)
    assert "expires in 10 days" in soon
    [late] = pair.warnings(time.time() + 33 * DAY_S)
    assert "expired 3 days ago" in late
    [early] = pair.warnings(time.time() - DAY_S)
    assert "not good before" in early


def test_a_key_that_others_may_read_is_mentioned(files):
    files.key.chmod(0o644)
    [reason] = load_pair(files.certificate, files.key).warnings(time.time())
    assert "may read its key" in reason


def test_a_certificate_that_lasts_beyond_2050_has_another_kind_of_time(tmp_path):
    """RFC 5280 4.1.2.5."""
    made = make_certificate(tmp_path, days=36_500)
    assert load_pair(made.certificate, made.key).days_left(time.time()) > 36_000


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda files, _: files.certificate.unlink(), "tls_cert: .*one.pem: No such file"),
        (lambda files, _: files.key.unlink(), "tls_key: .*one-key.pem: No such file"),
        (lambda files, _: files.certificate.write_bytes(b"\x30\x82"), "no certificate in PEM"),
        (lambda files, _: files.key.write_text("none"), "no private key in PEM"),
        (
            lambda files, _: files.certificate.write_text(
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
            ),
            "one.pem cannot be read",
        ),
        (
            lambda files, _: files.key.write_text(
                "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
            ),
            "cannot be used",
        ),
        (lambda files, other: files.key.write_bytes(other.key.read_bytes()), "is not the key of"),
        (
            lambda files, other: openssl(
                *("pkey", "-aes256", "-passout", "pass:x", "-in", other.key, "-out", files.key)
            ),
            "has a password",
        ),
    ],
    ids=["no cert", "no key", "DER", "text", "short", "bad key", "other's key", "password"],
)
def test_what_is_wrong_is_named(tmp_path, files, harm, told):
    harm(files, make_certificate(tmp_path, "two"))
    with pytest.raises(ConfigurationError, match=told):
        load_pair(files.certificate, files.key)


def test_a_renewed_pair_is_taken_up_and_a_wrong_one_is_not(tmp_path, files, logs):
    files.key.chmod(0o600)
    certificates = Certificates(files.certificate, files.key)
    first = certificates.pair
    assert certificates.look() is None
    assert certificates.pair is first

    other = make_certificate(tmp_path, "two", days=60)
    files.certificate.write_bytes(other.certificate.read_bytes())
    for _ in range(3):
        assert "is not the key of" in (certificates.look() or "")
    assert certificates.pair is first
    assert [line["event"] for line in logs] == ["certificate_rejected"]
    assert logs[0]["reason"] == certificates.rejected

    files.key.unlink()
    for _ in range(3):
        assert "No such file" in (certificates.look() or "")
    assert [line["event"] for line in logs][1:] == ["certificate_rejected"]

    other.key.replace(files.key)
    assert certificates.look() is None
    assert certificates.pair.days_left(time.time()) > 50
    assert [line["event"] for line in logs][2:] == ["certificate_read"]


def test_what_was_rejected_is_tried_again_although_it_looks_the_same(files):
    """As a key that we were not allowed to read, and may read now."""
    certificates = Certificates(files.certificate, files.key)
    good, seen = files.key.read_bytes(), files.key.stat()
    files.key.write_bytes(bytes(len(good)))
    assert certificates.look() is not None
    bad = files.key.stat()
    files.key.write_bytes(good)
    os.utime(files.key, ns=(bad.st_atime_ns, bad.st_mtime_ns))
    assert (files.key.stat().st_ino, files.key.stat().st_size) == (seen.st_ino, seen.st_size)
    assert certificates.look() is None


def test_an_operator_is_told_again_each_day(files, logs):
    """A certificate that nobody renews is not read again."""
    now_s = 0.0
    files.key.chmod(0o644)
    certificates = Certificates(files.certificate, files.key, clock=lambda: now_s)
    for now_s in (0.0, 0.5 * DAY_S, DAY_S, 1.5 * DAY_S, 2 * DAY_S):  # noqa: B007 - the clock
        certificates.look()
    assert [line["event"] for line in logs] == ["certificate_questionable"] * 3


def test_a_chain_is_good_as_long_as_each_in_it_is(tmp_path, files):
    """Clients check those in between, too; and the server's own comes first."""
    short = make_certificate(tmp_path, "two", days=3)
    own, between = files.certificate.read_text(), short.certificate.read_text()
    files.certificate.write_text(own + between)
    pair = load_pair(files.certificate, files.key)
    assert pair.days_left(time.time()) == pytest.approx(3, abs=0.1)
    files.certificate.write_text(between + own)
    with pytest.raises(ConfigurationError, match="whose own comes first"):
        load_pair(files.certificate, files.key)
