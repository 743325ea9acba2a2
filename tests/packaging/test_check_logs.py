"""The search for speech and keys in the logs of the tests finds them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import kept_logs

TOOL = Path(__file__).parents[2] / "tools" / "check_logs.py"
HARMLESS = {"event": "request_done", "path": "/v1/models/alpha", "took_s": 0.1, "alias": "one"}


def checked(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, TOOL, directory], capture_output=True, text=True, timeout=90, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_an_ordinary_log_is_fine(tmp_path):
    """Words of the speech may stand alone."""
    (tmp_path / "a.log").write_text(f"# test\n{json.dumps(HARMLESS)}\nstart alpha worker\n")
    code, said = checked(tmp_path)
    assert (code, said) == (0, "1 logs, 0.0 MiB, 0 keys: 0 findings\n")


@pytest.mark.parametrize(
    "leak",
    [
        "Seven alpha, blue nine.",
        {"text": " drei sieben null fünf"},
        {"words": ["red", "green", "blue"]},
        "hello\nworld\nalpha",
        "a secret prompt",
        "the-key-of-a-test",
        {"authorization": "Bearer abcdefgh"},
        "wr-" + "x" * 43,
        "Authorization: Bearer ***",
    ],
    ids=str,
)
def test_a_leak_is_found_with_its_file_and_line(tmp_path, leak):
    """Escaped or not, as a text or a list of words; a key that was only masked, too."""
    (tmp_path / "secrets.txt").write_text("the-key-of-a-test\nk\n")
    line = json.dumps({"event": "x", "leak": leak})
    (tmp_path / "server-1.log").write_text(f"{json.dumps(HARMLESS)}\n{line}\n")
    code, said = checked(tmp_path)
    assert code == 1
    assert f"{tmp_path}/server-1.log:2: " in said


def test_no_log_is_no_success(tmp_path):
    """Nothing was kept: somebody has turned it off."""
    assert checked(tmp_path)[0] == 1


def test_the_keys_of_servers_are_noted(tmp_path, monkeypatch):
    """Those of their configuration and of their environment."""
    monkeypatch.setenv(kept_logs.VARIABLE, str(tmp_path))
    kept_logs.keep_secrets('[auth]\napi_key = "first-key"\n', {"API_KEY": "other-key", "PATH": "/"})
    assert (tmp_path / "secrets.txt").read_text().split() == ["first-key", "other-key"]
