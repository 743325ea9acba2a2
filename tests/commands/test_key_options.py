"""Options of `whisper-router keys`."""

from datetime import UTC, datetime, timedelta

import pytest

from whisper_router.api.keys import Key, KeyLimits, Scope
from whisper_router.commands.key_options import KeyOptions, expiry_of
from whisper_router.errors import ConfigurationError

NOW = datetime(2026, 11, 22, 12, 30, 15, 999, tzinfo=UTC)
KEY = Key(
    name="laptop",
    hash="",
    scopes=frozenset({Scope.LIVE}),
    models=("fast",),
    limits=KeyLimits(requests_per_minute=9, concurrent_requests=3, audio_minutes_per_day=1.0),
    expires=NOW,
)


def test_what_is_not_given_stays():
    assert KeyOptions().apply(KEY, NOW) == KEY


def test_every_limit_can_be_taken_away():
    taken = KeyOptions(
        scopes="none",
        models="none",
        requests_per_minute="none",
        concurrent_requests="None",
        audio_minutes_per_day="none",
        expires="none",
    )
    assert taken.apply(KEY, NOW) == Key(name="laptop", hash="")


def test_every_limit_can_be_set():
    options = KeyOptions(
        scopes="transcribe, jobs",
        models="whisper-1,org/model:q5,whisper-1",
        requests_per_minute="60",
        concurrent_requests="4",
        audio_minutes_per_day="0.5",
        weight="2",
        admin=True,
    )
    key = options.apply(Key(name="new", hash=""), NOW)
    assert key.scopes == {Scope.TRANSCRIBE, Scope.JOBS}
    assert key.models == ("whisper-1", "org/model:q5")
    assert key.limits == KeyLimits(
        requests_per_minute=60, concurrent_requests=4, audio_minutes_per_day=0.5
    )
    assert (key.weight, key.admin) == (2.0, True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2027-01-01", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T12:00+02:00", datetime(2027, 1, 1, 10, tzinfo=UTC)),
        ("30d", datetime(2026, 12, 22, 12, 30, 15, tzinfo=UTC)),
        ("12H", NOW.replace(microsecond=0) + timedelta(hours=12)),
        ("2w", NOW.replace(microsecond=0) + timedelta(days=14)),
    ],
)
def test_an_expiry_is_a_day_a_time_or_a_span(text: str, meant: datetime):
    assert expiry_of(text, NOW) == meant


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (KeyOptions(scopes="transcribe,write"), "--scopes.*'write'.*metrics"),
        (KeyOptions(scopes=","), "--scopes"),
        (KeyOptions(models=" "), "--models"),
        (KeyOptions(models="a\x00b"), "--models"),
        (KeyOptions(requests_per_minute="0"), "--requests-per-minute.*'0'"),
        (KeyOptions(requests_per_minute="1.5"), "--requests-per-minute"),
        (KeyOptions(concurrent_requests="-1"), "--concurrent-requests"),
        (KeyOptions(audio_minutes_per_day="nan"), "--audio-minutes-per-day"),
        (KeyOptions(audio_minutes_per_day="lots"), "--audio-minutes-per-day"),
        (KeyOptions(weight="1000"), "--weight"),
        (KeyOptions(expires="soon"), "--expires.*30d"),
        (KeyOptions(expires="2026-11-22"), "--expires.*over"),
        (KeyOptions(expires="0d"), "--expires"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: KeyOptions, complaint: str):
    with pytest.raises(ConfigurationError, match=complaint):
        options.apply(KEY, NOW)
