"""Certificates and keys as they are found on disk, from good to useless."""

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
    certificates.look()
    assert certificates.pair is first

    other = make_certificate(tmp_path, "two", days=60)
    files.certificate.write_bytes(other.certificate.read_bytes())
    for _ in range(3):
        certificates.look()
    assert certificates.pair is first
    assert [line["event"] for line in logs] == ["certificate_rejected"]
    assert "is not the key of" in logs[0]["reason"]
    with pytest.raises(ConfigurationError, match="is not the key of"):
        certificates.reload()

    files.key.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        certificates.reload()
    logs.pop()

    other.key.replace(files.key)
    certificates.reload()
    assert certificates.pair.days_left(time.time()) > 50
    assert [line["event"] for line in logs][1:] == ["certificate_read"]
