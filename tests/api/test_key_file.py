"""The file of the keys' hashes."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from whisper_router.api.key_file import editing, load_keys, save_keys
from whisper_router.api.keys import Key, KeyLimits, Scope, hash_key
from whisper_router.errors import ConfigurationError

MADE = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ENTRY = f'[keys.a]\nhash = "{hash_key("x")}"\n'


def a_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_is_saved_is_loaded_again(tmp_path: Path):
    """A round trip keeps every field, and a new file is for its owner alone."""
    path = tmp_path / "keys.toml"
    keys = [
        Key(name="laptop", hash=hash_key("a"), created=MADE),
        Key(name="old-phone_2", hash=hash_key("b"), disabled=True),
        Key(
            name="guest",
            hash=hash_key("c"),
            weight=0.5,
            scopes=frozenset({Scope.LIVE, Scope.METRICS}),
            models=('org/"model":q5', "ключ"),
            limits=KeyLimits(
                requests_per_minute=60, concurrent_requests=4, audio_minutes_per_day=0.5
            ),
            expires=MADE,
        ),
    ]
    save_keys(path, keys)
    assert load_keys(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_saving_keeps_the_mode_of_an_existing_file_and_follows_links(tmp_path: Path):
    """A service with a group of its own must still be able to read the file."""
    path = a_file(tmp_path / "real.toml", "", 0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    save_keys(link, [])
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("keys = 3", "keys"),
        ("[keys.a]", "keys.a.hash"),
        ('[keys.a]\nhash = "secret"', "keys.a.hash"),
        (f'[keys.a]\nhash = "{hash_key("x")}0"', "keys.a.hash"),
        (f'[keys.a]\nhash = "{hash_key("x")}"\nadmyn = true', "keys.a.admyn"),
        (f'[keys.a]\nhash = "{hash_key("x")}"\ndisabled = "no"', "keys.a.disabled"),
        (f'{ENTRY}scopes = ["write"]', "keys.a.scopes.*'transcribe'"),
        (f"{ENTRY}scopes = []", "keys.a.scopes"),
        (f"{ENTRY}models = []", "keys.a.models"),
        (f'{ENTRY}models = [""]', "keys.a.models"),
        (f"{ENTRY}requests_per_minute = 0", "keys.a.requests_per_minute"),
        (f"{ENTRY}concurrent_requests = 1.5", "keys.a.concurrent_requests"),
        (f"{ENTRY}audio_minutes_per_day = nan", "keys.a.audio_minutes_per_day"),
        (f'{ENTRY}expires = "soon"', "keys.a.expires"),
        (f'[keys."a b"]\nhash = "{hash_key("x")}"', "a b"),
        (f'[keys.api_key]\nhash = "{hash_key("x")}"', "keys.api_key: .*name it differently"),
        ("[keys.a", "end of document"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str):
    """The message names the entry; it never repeats what should have been a hash."""
    path = a_file(tmp_path / "keys.toml", text)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        load_keys(path)
    assert "secret" not in str(caught.value)


def test_an_absent_file_is_refused(tmp_path: Path):
    """A typing error in its path must not open the server."""
    with pytest.raises(ConfigurationError, match="No such file"):
        load_keys(tmp_path / "keys.toml")


def test_a_file_that_others_can_read_is_used_with_a_warning(tmp_path: Path):
    """Hashes of random keys give nothing away, but the habit is bad."""
    path = a_file(tmp_path / "keys.toml", "[keys]\n", 0o644)
    with capture_logs() as logs:
        assert load_keys(path) == []
    assert [(entry["event"], entry["mode"]) for entry in logs] == [
        ("key_file_open_to_others", "0644")
    ]


def test_a_failed_edit_leaves_the_file_as_it_was(tmp_path: Path):
    """Nothing is half-written."""
    path = tmp_path / "keys.toml"
    with editing(path) as keys:
        keys["a"] = Key(name="a", hash=hash_key("a"))
    before = path.read_bytes()
    with pytest.raises(KeyError), editing(path) as keys:
        keys.clear()
        raise KeyError
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2027-01-01", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T12:00:00", datetime(2027, 1, 1, 12, tzinfo=UTC)),
        ("2027-01-01T12:00:00+02:00", datetime(2027, 1, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_day_is_its_beginning_and_times_are_utc(tmp_path: Path, written: str, meant: datetime):
    """Unless they say otherwise."""
    (key,) = load_keys(a_file(tmp_path / "keys.toml", f"{ENTRY}expires = {written}\n"))
    assert key.expires == meant
