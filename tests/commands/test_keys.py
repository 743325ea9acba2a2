"""`whisper-router keys`."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from whisper_router.api.key_file import load_keys
from whisper_router.api.keys import KeyLimits, KeyRing, Scope
from whisper_router.commands import keys
from whisper_router.commands.key_options import KeyOptions
from whisper_router.errors import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet, in a directory that is not there either."""
    return tmp_path / "etc" / "keys.toml"


def test_a_new_key_is_printed_once_and_accepted(path: Path, capsys: pytest.CaptureFixture[str]):
    """Only the key goes to stdout, so that a script can take it; only its hash is stored."""
    assert keys.new(path, "laptop") == 0
    key = capsys.readouterr().out.strip()
    found = KeyRing(load_keys(path), required=True).identify(key)
    assert found is not None
    assert found.name == "laptop"
    assert key not in path.read_text()


def test_a_key_that_nobody_could_read_is_not_made(path: Path, monkeypatch: pytest.MonkeyPatch):
    """It would be good for ever, and nobody's."""
    keys.new(path, "laptop")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(OSError, match="No space left"):
            keys.new(path, "phone")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert [key.name for key in load_keys(path)] == ["laptop"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    """Also one in which root may write nothing."""
    (tmp_path / "file").touch()
    for path in (Path("/proc/keys.toml"), tmp_path / "file" / "keys.toml"):
        with pytest.raises(ConfigurationError, match=f"key file {path} cannot be written: "):
            keys.new(path, "laptop")


def test_listing_shows_names_and_no_hashes(path: Path, capsys: pytest.CaptureFixture[str]):
    """One aligned line per key below the names of the columns; what is long moves the rest."""
    keys.new(path, "laptop")
    options = KeyOptions(
        scopes="live,metrics", models="whisper-1", requests_per_minute="60", expires="2999-01-01"
    )
    keys.new(path, "the-phone-of-a-guest", options)
    capsys.readouterr()
    assert keys.list_keys(path) == 0
    head, laptop, phone = capsys.readouterr().out.splitlines()
    assert laptop.split() == [
        *("laptop", "active", "transcribe,live,jobs", "all", "-", "-", "-", "never")
    ]
    assert "live,metrics" in phone
    assert "2999-01-01 00:00" in phone
    assert head.index("MODELS") == laptop.index("all") == phone.index("whisper-1")
    assert "sha256" not in head + laptop + phone


def test_programs_get_json(path: Path, capsys: pytest.CaptureFixture[str]):
    """The same, and no hash either."""
    keys.new(path, "laptop", KeyOptions(admin=True, audio_minutes_per_day="1.5"))
    capsys.readouterr()
    keys.list_keys(path, as_json=True)
    out = capsys.readouterr().out
    (entry,) = json.loads(out)
    assert (entry["name"], entry["state"], entry["admin"]) == ("laptop", "active", True)
    assert entry["scopes"] == list(Scope)
    assert (entry["audio_minutes_per_day"], entry["requests_per_minute"]) == (1.5, None)
    assert "sha256" not in out


def test_what_a_key_may_do_is_changed_and_the_rest_stays(
    path: Path, capsys: pytest.CaptureFixture[str]
):
    """The key itself, too: nobody has to type it again."""
    keys.new(path, "laptop", KeyOptions(requests_per_minute="60", models="fast"))
    (before,) = load_keys(path)
    keys.change(path, "laptop", KeyOptions(concurrent_requests="2", models="none", disabled=True))
    (after,) = load_keys(path)
    assert after.limits == KeyLimits(requests_per_minute=60, concurrent_requests=2)
    assert (after.models, after.disabled) == (None, True)
    assert (after.hash, after.created) == (before.hash, before.created)
    assert "disabled" in capsys.readouterr().out


def test_there_must_be_something_to_change_and_somebody_to_change_it_for(path: Path):
    """Nothing is written."""
    keys.new(path, "laptop")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="what to change"):
        keys.change(path, "laptop", KeyOptions())
    with pytest.raises(ConfigurationError, match="no key named 'phone'"):
        keys.change(path, "phone", KeyOptions(admin=True))
    with pytest.raises(ConfigurationError, match="--weight"):
        keys.change(path, "laptop", KeyOptions(weight="0"))
    assert path.read_bytes() == before


def test_a_revoked_key_is_gone(path: Path, capsys: pytest.CaptureFixture[str]):
    """The last one too, with a word about what that means."""
    keys.new(path, "laptop")
    assert keys.revoke(path, "laptop") == 0
    assert load_keys(path) == []
    assert "answers nobody" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a.b", "ключ"])
def test_unfit_names_are_refused_before_a_file_is_made(path: Path, name: str):
    """A name must stand in TOML as it is."""
    with pytest.raises(ConfigurationError, match="letters"):
        keys.new(path, name)
    assert not path.exists()


def test_a_taken_name_and_an_unknown_one_are_refused(path: Path):
    """No key is replaced or removed by mistake."""
    keys.new(path, "laptop")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="already"):
        keys.new(path, "laptop")
    with pytest.raises(ConfigurationError, match="no key named"):
        keys.revoke(path, "phone")
    assert path.read_bytes() == before


def test_keys_made_at_the_same_time_are_all_kept(path: Path):
    """Editors wait for each other."""
    names = [f"key-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: keys.new(path, name), names))
    assert {key.name for key in load_keys(path)} == set(names)
