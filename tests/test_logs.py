"""Log lines as they reach stderr."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from whisper_router.errors import ConfigurationError
from whisper_router.logs import LogFormat, chosen_format, configure_logging, masked

PROGRAM = """
import sys
import structlog
from whisper_router.logs import LogFormat, configure_logging

configure_logging(level=sys.argv[1], style=LogFormat(sys.argv[2]))
log = structlog.get_logger("x")

def transcribe(transcript):
    key = "wr-" + "s3cret"
    raise ValueError("the engine said no")

structlog.contextvars.bind_contextvars(request_id="req_1")
log.debug("too_fine")
log.info("engine_ready", alias="demo", took_s=0.25)
try:
    transcribe("what " + "was said")
except ValueError:
    log.exception("request_failed")
"""


VALIDATED = """
import logging, sys
import structlog
from pydantic import TypeAdapter, ValidationError
from whisper_router.logs import LogFormat, configure_logging

configure_logging(level=sys.argv[1], style=LogFormat(sys.argv[2]))
try:
    TypeAdapter(list[int]).validate_python([chr(10) + "what " + "was said, input_type=1"])
except ValidationError:
    structlog.get_logger("x").exception("job_not_read")
    logging.getLogger("x").exception("job_not_read")
"""

UNTELLABLE = """
import sys
import structlog
from whisper_router.logs import LogFormat, configure_logging

class Odd(Exception):
    @property
    def __notes__(self):
        raise ValueError("what was said")

configure_logging(level="debug", style=LogFormat(sys.argv[2]))
try:
    raise Odd
except Odd:
    structlog.get_logger("x").exception("request_failed", alias="demo")
"""

LIBRARIES = """
import asyncio, logging, sys, warnings
import structlog
from whisper_router.logs import LogFormat, configure_logging

configure_logging(level="debug", style=LogFormat(sys.argv[2]))
structlog.contextvars.bind_contextvars(request_id="req_1")
logging.getLogger("aiosqlite").debug("executing INSERT what was said")
logging.getLogger("httpx").info("GET https://hub/model?signature=abc")
logging.getLogger("zeroconf").warning("no network for %s", "Bearer wr-" + "x" * 43)
warnings.warn("this is old", stacklevel=1)
try:
    raise ValueError("refused sk-" + "y" * 30)
except ValueError:
    logging.getLogger("asyncio").exception("Task exception was never retrieved")
structlog.get_logger().info("asked", headers={"authorization": ["Bearer wr-" + "z" * 43]},
                            reason=KeyError("hf_" + "q" * 34))
"""

UNHEARD = (
    PROGRAM
    + """
import logging
logging.getLogger("zeroconf").warning("no network")
print("went on")
"""
)


def logged(level: str, style: LogFormat, program: str = PROGRAM) -> list[str]:
    """Return what a program of its own printed on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program, level, style],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_per_line_with_time_level_and_request():
    """What a log collector takes."""
    ready, failed = map(json.loads, logged("info", LogFormat.JSON))
    assert ready["timestamp"].endswith("Z")
    assert {key: ready[key] for key in ("event", "level", "alias", "took_s", "request_id")} == {
        "event": "engine_ready",
        "level": "info",
        "alias": "demo",
        "took_s": 0.25,
        "request_id": "req_1",
    }
    assert (failed["event"], failed["level"]) == ("request_failed", "error")
    assert "ValueError: the engine said no" in failed["exception"]


def test_text_is_a_line_for_people_without_colours_in_a_pipe():
    """Event and fields; the traceback follows."""
    first, *rest = logged("info", LogFormat.TEXT)
    assert "[info     ] engine_ready" in first
    assert "alias=demo" in first
    assert "request_id=req_1" in first
    assert "\x1b" not in "".join([first, *rest])
    assert "ValueError: the engine said no" in rest[-1]


def test_the_level_is_the_least_severe_that_is_printed():
    """debug shows everything, error only what failed."""
    events = [json.loads(line)["event"] for line in logged("debug", LogFormat.JSON)]
    assert events == ["too_fine", "engine_ready", "request_failed"]
    assert len(logged("error", LogFormat.JSON)) == 1


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.TEXT])
def test_a_traceback_never_shows_what_was_validated(style):
    """Such as the request of a job, with its prompt, as a damaged file has it."""
    text = "\n".join(logged("info", style, program=VALIDATED))
    assert text.count("Input should be a valid integer") == 2
    assert "what was said" not in text
    assert "input_type=str" in text


@pytest.mark.parametrize("style", LogFormat)
def test_a_traceback_never_shows_local_variables(style):
    """They hold transcripts and keys."""
    text = "\n".join(logged("info", style))
    assert "Traceback" in text
    assert "what was said" not in text
    assert "wr-s3cret" not in text


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.TEXT])
def test_libraries_use_the_same_lines_and_are_heard_from_warnings_on(style):
    """What they tell below that are queries, addresses and headers in full."""
    lines = logged("debug", style, LIBRARIES)
    text = "\n".join(lines)
    assert "what was said" not in text
    assert "signature" not in text
    assert "this is old" in text
    if style is LogFormat.JSON:
        entries = {entry.get("logger"): entry for entry in map(json.loads, lines)}
        assert entries["zeroconf"]["event"] == "no network for Bearer ***"
        assert entries["zeroconf"]["request_id"] == "req_1"
        assert entries["zeroconf"]["level"] == "warning"
        assert entries["asyncio"]["exception"].endswith("ValueError: refused sk-***")
    else:
        assert any("no network for" in line and "request_id=req_1" in line for line in lines)


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.TEXT])
def test_keys_are_masked_wherever_they_are(style):
    """In nested fields, in errors and their tracebacks, in what libraries say."""
    text = "\n".join(logged("debug", style, LIBRARIES))
    assert text.count("***") == 4
    assert [run for run in ("xxxx", "yyyy", "zzzz", "qqqq") if run in text] == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: Bearer abc.def-1234", "Authorization: Bearer ***"),
        (f"key 'wr-{'AbCd' * 11}'", "key 'wr-***'"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==", "whsec_***"),
        ("sk-proj-abc_defghijkl", "sk-***"),
        ("ek_0123456789abcdef.", "ek_***."),
        (
            "the bearer of news, hf_transfer, HF_HUB_OFFLINE, /tmp/wr-1q2w3e4r5t6z.bin, task-1",
            None,
        ),
        ("whisper-router started with basic settings", None),
    ],
)
def test_what_looks_like_a_key_is_masked_and_no_more(said, shown):
    """Names of programs and plain words stay readable."""
    assert masked(said) == (shown or said)


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.TEXT])
def test_a_traceback_that_cannot_be_formatted_ends_nothing(style):
    """The rest of the line is there."""
    text = "\n".join(logged("info", style, UNTELLABLE))
    assert "request_failed" in text
    assert "a traceback that cannot be formatted: ValueError" in text
    assert "what was said" not in text


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.TEXT])
def test_a_line_that_cannot_be_written_ends_nothing(style):
    """The disk is full, or whoever read the pipe has gone."""
    reader, gone = os.pipe()
    os.close(reader)
    for stream in (gone, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run(
            [sys.executable, "-c", UNHEARD, "debug", style],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            timeout=30,
            check=False,
        )
        os.close(stream)
        assert done.stdout == "went on\n"


def test_a_file_takes_the_lines_and_may_be_moved_away(tmp_path: Path):
    """Ours and those of libraries, as JSON; nothing is left for stderr."""
    path, old = tmp_path / "router.log", tmp_path / "router.log.0"
    program = f"""
import logging, os, structlog, sys
from pathlib import Path
from whisper_router.logs import LogFormat, configure_logging

configure_logging(level="info", style=LogFormat.AUTO, file=Path({str(path)!r}))
structlog.get_logger().info("first")
os.rename({str(path)!r}, {str(old)!r})
structlog.get_logger().info("second", word="größer")
logging.getLogger("library").warning("third")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [[json.loads(line)["event"] for line in f.read_text().splitlines()] for f in (old, path)]
    assert told == [["first"], ["second", "third"]]


def test_a_log_that_cannot_be_opened_is_a_wrong_setting(tmp_path: Path):
    """Before anything is set up."""
    with pytest.raises(ConfigurationError, match=r"server\.log_file: .* Is a directory"):
        configure_logging(level="error", style=LogFormat.TEXT, file=tmp_path)


def test_what_a_command_sets_up_is_another_s_no_more():
    """Of the tests: this one says nothing, so that the next is heard."""
    configure_logging(level="error", style=LogFormat.TEXT)


def test_what_a_command_has_set_up_is_gone():
    """And so is the stream to which it wrote."""
    with capture_logs() as logs:
        structlog.get_logger().warning("heard")
    assert [entry["event"] for entry in logs] == ["heard"]


def test_auto_is_text_where_people_read(tmp_path: Path):
    """A terminal and the journal; a pipe or a file goes to a program."""

    def chosen(fd: int, environment: Mapping[str, str]) -> LogFormat:
        with os.fdopen(os.dup(fd), "w") as stream:
            return chosen_format(LogFormat.AUTO, stream, environment)

    ours, theirs = pty.openpty()
    assert chosen(theirs, {}) is LogFormat.TEXT
    os.close(ours)
    os.close(theirs)
    with (tmp_path / "log").open("w") as file:
        status = os.fstat(file.fileno())
        assert chosen(file.fileno(), {}) is LogFormat.JSON
        journal = f"{status.st_dev}:{status.st_ino}"
        assert chosen(file.fileno(), {"JOURNAL_STREAM": journal}) is LogFormat.TEXT
        assert chosen(file.fileno(), {"JOURNAL_STREAM": "1:2"}) is LogFormat.JSON
        assert chosen_format(LogFormat.TEXT, file, {}) is LogFormat.TEXT
