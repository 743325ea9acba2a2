"""Default directories, as systemd, XDG or the system's temporary directory give them."""

import os
import tempfile
from pathlib import Path

from whisper_router.settings import Settings

NAME = "whisper-router"


def store_directory(settings: Settings) -> Path:
    """Return where model files live."""
    if settings.store.directory is not None:
        return settings.store.directory.expanduser()
    if given := _first(os.environ.get("CACHE_DIRECTORY")):  # set by systemd (systemd.exec(5))
        return given / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / NAME / "models"


def jobs_directory(settings: Settings) -> Path:
    """Return where jobs are kept."""
    if settings.jobs.directory is not None:
        return settings.jobs.directory.expanduser()
    return _state_directory() / "jobs"


def usage_file(settings: Settings) -> Path | None:
    """Return what keeps the figures of keys; None: there is no place for it."""
    if settings.auth.usage_file is not None:
        return settings.auth.usage_file.expanduser()
    try:
        return _state_directory() / "usage.sqlite"
    except RuntimeError:  # there is no home directory
        return None


def spool_root(settings: Settings) -> Path:
    """Return where uploads and decoded audio live while a request runs."""
    if settings.audio.spool_dir is not None:
        return settings.audio.spool_dir.expanduser()
    return Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"


def run_directory(settings: Settings) -> Path:
    """Return where sockets and the notes about running engines live."""
    return _first(os.environ.get("RUNTIME_DIRECTORY")) or spool_root(settings)


def _state_directory() -> Path:
    if given := _first(os.environ.get("STATE_DIRECTORY")):
        return given
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / NAME


def _first(directories: str | None) -> Path | None:
    return Path(directories.split(":")[0]) if directories else None
