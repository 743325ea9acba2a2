"""`whisper-router keys`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whisper_router.api.keys import KeyRing, load_keys
from whisper_router.commands import keys
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


def test_listing_shows_names_and_no_hashes(path: Path, capsys: pytest.CaptureFixture[str]):
    """One line per key."""
    keys.new(path, "laptop")
    keys.new(path, "phone")
    capsys.readouterr()
    assert keys.list_keys(path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["laptop", "phone"]
    assert "sha256" not in "".join(lines)


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
