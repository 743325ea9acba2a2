"""Default directories follow systemd, then XDG, then the temporary directory; settings win."""

import os
import tempfile
from pathlib import Path

import pytest

from whisper_router.engine_sections import AudioSettings, StoreSettings
from whisper_router.places import run_directory, spool_root, store_directory, usage_file
from whisper_router.sections import AuthSettings
from whisper_router.settings import Settings

DEFAULTS = Settings.model_construct()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """Nothing of this machine's, but a home and a temporary directory."""
    names = "CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "XDG_CACHE_HOME"
    for name in (*names, "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_models_lie_in_the_users_cache(tmp_path, monkeypatch):
    """~/.cache, or where XDG_CACHE_HOME says."""
    assert store_directory(DEFAULTS) == tmp_path / ".cache" / "whisper-router" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert store_directory(DEFAULTS) == Path("/x/whisper-router/models")


def test_under_systemd_models_lie_in_the_services_cache(monkeypatch):
    """The first of the directories that systemd names (systemd.exec(5): colons between them)."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/whisper-router:/var/cache/other")
    assert store_directory(DEFAULTS) == Path("/var/cache/whisper-router/models")


def test_settings_win_over_every_default(monkeypatch, tmp_path):
    """And `~` in them is the home directory."""
    monkeypatch.setenv("CACHE_DIRECTORY", "/c")
    settings = Settings.model_construct(
        store=StoreSettings(directory=Path("~/models")), audio=AudioSettings(spool_dir=Path("/s"))
    )
    assert store_directory(settings) == tmp_path / "models"
    assert spool_root(settings) == Path("/s")
    assert run_directory(settings) == Path("/s")


def test_uploads_lie_in_a_temporary_directory_of_this_user(monkeypatch):
    """Two users of one machine do not meet; sockets lie there too, unless systemd says where."""
    assert spool_root(DEFAULTS).parent == Path(tempfile.gettempdir())
    assert spool_root(DEFAULTS).name == f"whisper-router-{os.geteuid()}"
    assert run_directory(DEFAULTS) == spool_root(DEFAULTS)
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/whisper-router")
    assert run_directory(DEFAULTS) == Path("/run/whisper-router")


def test_usage_is_kept_with_the_state(tmp_path, monkeypatch):
    """Beside the jobs, also where those are elsewhere or switched off."""
    own = tmp_path / ".local" / "state" / "whisper-router" / "usage.sqlite"
    assert usage_file(DEFAULTS) == own
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert usage_file(DEFAULTS) == Path("/x/whisper-router/usage.sqlite")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/whisper-router:/other")
    assert usage_file(DEFAULTS) == Path("/var/lib/whisper-router/usage.sqlite")
    named = Settings.model_construct(auth=AuthSettings(usage_file=Path("~/u.sqlite")))
    assert usage_file(named) == tmp_path / "u.sqlite"
