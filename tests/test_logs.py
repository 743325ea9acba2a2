"""Log lines as they reach stderr."""

import json
import subprocess
import sys

import pytest

from whisper_router.logs import LogFormat

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


def logged(level: str, style: LogFormat) -> list[str]:
    """Return what a program of its own printed on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, style],
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


@pytest.mark.parametrize("style", LogFormat)
def test_a_traceback_never_shows_local_variables(style):
    """They hold transcripts and keys."""
    text = "\n".join(logged("info", style))
    assert "Traceback" in text
    assert "what was said" not in text
    assert "wr-s3cret" not in text
