"""The audit's file."""

import json
import resource
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from whisper_router.api.audit import AuditLog
from whisper_router.api.keys import new_key
from whisper_router.errors import ConfigurationError


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_request_is_a_line_for_the_owner_alone(tmp_path: Path):
    """All that has come is there at the end, after what was there before."""
    path = tmp_path / "log" / "audit.jsonl"
    for first in (0, 500):
        audit = AuditLog(path)
        for number in range(first, first + 500):
            audit.write({"request_id": f"req_{number}", "key": "ключ"})
        audit.close()
    assert [line["request_id"] for line in lines(path)] == [f"req_{n}" for n in range(1000)]
    assert lines(path)[0]["key"] == "ключ"
    assert str(lines(path)[0]["time"]).endswith("+00:00")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_a_client_calls_its_request_is_not_kept(tmp_path: Path):
    """Ids and names are as clients choose them, the file is for years."""
    path, key = tmp_path / "audit.jsonl", new_key()
    audit = AuditLog(path)
    audit.write({"request_id": key, "model": f"a {key}"})
    audit.close()
    (line,) = lines(path)
    assert (line["request_id"], line["model"]) == ("wr-***", "a wr-***")


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path):
    """As logrotate does; what came before is in the old one."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    audit = AuditLog(path)
    audit._append(b'{"n": 1}\n')
    path.rename(old)
    audit._append(b'{"n": 2}\n')
    path.unlink()
    audit.write({"n": 3})
    audit.close()
    assert lines(old) == [{"n": 1}]
    assert [line["n"] for line in lines(path)] == [3]


def test_a_disk_that_fails_is_told_of_once_and_stops_nobody(tmp_path: Path):
    """And when it works again."""
    folder = tmp_path / "log"
    audit = AuditLog(folder / "audit.jsonl")
    with capture_logs() as logs:
        (folder / "audit.jsonl").unlink()
        folder.rmdir()
        audit._append(b"lost\n")
        audit._append(b"lost\n")
        folder.mkdir()
        audit._append(b'{"n": 1}\n')
    audit.close()
    assert [entry["event"] for entry in logs] == ["audit_not_written", "audit_written_again"]
    assert logs[-1]["lost"] == 2
    assert lines(folder / "audit.jsonl") == [{"n": 1}]


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path):
    """The disk was full in the middle of it: as much was written as there was room for."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    audit._append(b'{"n": 1}\n')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 12, before[1]))
    try:
        with capture_logs() as logs:
            audit._append(b'{"n": 2}\n{"n": 3}\n{"n": 4}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with capture_logs() as later:
        audit._append(b'{"n": 5}\n')
    audit.close()
    assert path.read_text().splitlines() == ['{"n": 1}', '{"n": 2}', '{"n', '{"n": 5}']
    assert [entry["event"] for entry in logs] == ["audit_not_written"]
    assert [(entry["event"], entry["lost"]) for entry in later] == [("audit_written_again", 2)]


def test_a_file_that_cannot_be_made_is_refused_at_start(tmp_path: Path):
    """The operator is there to read it."""
    with pytest.raises(ConfigurationError, match=r"audit\.file"):
        AuditLog(tmp_path)
