"""The file of usage."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from whisper_router.api.limits.account import Figures
from whisper_router.api.limits.store import MOST_CHARGED, MOST_DAYS, Saved, UsageFile
from whisper_router.errors import ConfigurationError

NOW_S = 1_795_305_600.0
DAY = "2026-11-22"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet, in a directory that is not there either."""
    return tmp_path / "state" / "usage.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[UsageFile]:
    with closing(UsageFile(path)) as opened:
        yield opened


def saved(requests: int = 3, *recent: float, day: str = DAY) -> Saved:
    figures = Figures(requests=requests, errors=1, audio_s=2.5)
    return Saved(since_s=7.0, total=figures, days={day: figures}, recent=recent)


def test_what_is_saved_is_loaded_by_the_next_process(path: Path):
    """Of the last minute only what is still within it."""
    with closing(UsageFile(path)) as file:
        file.save({"a": saved(3, NOW_S - 61, NOW_S - 1), "": saved(9)}, unix_s=NOW_S)
        file.save({"a": saved(4, NOW_S)}, unix_s=NOW_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(UsageFile(path)) as file:
        found = file.load(unix_s=NOW_S + 1, days=[DAY])
    assert found == {"a": saved(4, NOW_S - 1, NOW_S), "": saved(9)}


def test_other_days_are_not_loaded(file: UsageFile):
    """Their figures are in the total."""
    file.save({"a": saved(day="2026-01-01")}, unix_s=NOW_S)
    assert file.load(unix_s=NOW_S, days=[DAY])["a"].days == {}


def test_a_second_process_is_kept_out(path: Path, file: UsageFile):
    """It would overwrite what the first one counts."""
    file.save({"a": saved()}, unix_s=NOW_S)
    with pytest.raises(ConfigurationError, match="locked"):
        UsageFile(path)


def test_what_is_no_file_of_ours_is_left_alone(path: Path):
    """Damaged, newer, or a directory."""
    path.parent.mkdir()
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        UsageFile(path)
    assert path.read_bytes().startswith(b"something else")
    newer = path.with_name("newer.sqlite")
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="version 99"):
        UsageFile(newer)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        UsageFile(path.parent)


def test_old_days_are_deleted_at_the_next_start(path: Path):
    """Those beyond a year and a bit, of each key for itself."""
    first = date(2024, 1, 1)
    days = [(first + timedelta(days=number)).isoformat() for number in range(MOST_DAYS + 1)]
    with closing(UsageFile(path)) as file:
        for day in days:
            file.save({"a": saved(day=day)}, unix_s=NOW_S)
        file.save({"b": saved(day=days[0])}, unix_s=NOW_S)
    with closing(UsageFile(path)) as file:
        found = file.load(unix_s=NOW_S, days=days)
    assert list(found["a"].days) == days[1:]
    assert list(found["b"].days) == days[:1]


def test_a_day_in_the_far_future_deletes_no_other(path: Path):
    """The clock was wrong for one request."""
    with closing(UsageFile(path)) as file:
        file.save({"a": saved()}, unix_s=NOW_S)
        file.save({"a": saved(3, NOW_S + 1e8, day="2036-11-22")}, unix_s=NOW_S + 1e8)
    with closing(UsageFile(path)) as file:
        found = file.load(unix_s=NOW_S, days=[DAY])
    assert found["a"].days.keys() == {DAY}
    assert found["a"].recent == ()


def test_what_the_file_has_of_an_unknown_day_is_added_to(file: UsageFile):
    """And told to who did not know it."""
    file.save({"a": saved()}, unix_s=NOW_S)
    more = replace(saved(), unknown=frozenset({DAY, "2026-11-23"}))
    assert file.save({"a": more}, unix_s=NOW_S) == {("a", DAY): more.days[DAY]}
    [figures] = file.load(unix_s=NOW_S, days=[DAY])["a"].days.values()
    assert figures == Figures(requests=6, errors=2, audio_s=5.0)


def test_the_work_that_was_charged_last_is_remembered(path: Path):
    """Each once, and no more than could be about to end."""
    work = [f"job_{number}" for number in range(MOST_CHARGED + 5)]
    with closing(UsageFile(path)) as file:
        file.save({}, unix_s=NOW_S, charged=work[:10])
        file.save({}, unix_s=NOW_S, charged=work[5:])
        assert file.charged() == work[5:]
    with closing(UsageFile(path)) as file:
        assert file.charged() == work[5:]


def test_a_file_of_before_work_was_remembered_is_used(path: Path):
    """And what does not know of it still uses the file."""
    with closing(UsageFile(path)) as file:
        file.save({"a": saved()}, unix_s=NOW_S)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE charged")
        assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]
    with closing(UsageFile(path)) as file:
        file.save({"a": saved()}, unix_s=NOW_S, charged=["one"])
        assert file.charged() == ["one"]


def test_a_failed_save_changes_nothing(file: UsageFile):
    """All of it, or nothing."""
    file.save({"a": saved()}, unix_s=NOW_S)
    wrong = Saved(since_s=None, total=Figures(requests=99), days={})  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        file.save({"b": saved(), "a": wrong}, unix_s=NOW_S)
    assert file.load(unix_s=NOW_S, days=[DAY]).keys() == {"a"}
    file.save({"b": saved()}, unix_s=NOW_S)
