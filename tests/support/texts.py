"""The text in an answer, whatever format that has."""

import json
import re
from collections.abc import Iterator

CUE = re.compile(r"(?:\d+\n)?\d\d+:\d\d:\d\d[.,]\d{3} --> \d\d+:\d\d:\d\d[.,]\d{3}\n(.+)\n\n")


def cue_texts(body: str) -> list[str]:
    """Return the lines of an SRT or WebVTT body without numbers and times."""
    position, found = len("WEBVTT\n\n") if body.startswith("WEBVTT") else 0, []
    while position < len(body):
        match = CUE.match(body, position)
        assert match is not None, body[position:]
        found.append(match[1])
        position = match.end()
    return found


def streamed_texts(body: str) -> tuple[str, str]:
    """Return the joined deltas of a stream, and the text of its last event."""
    events = list(_events(body))
    deltas = [event["delta"] for event in events[:-1]]
    assert [event["type"] for event in events] == (
        ["transcript.text.delta"] * len(deltas) + ["transcript.text.done"]
    )
    return "".join(deltas), events[-1]["text"]


def squeezed(text: str) -> str:
    """Return `text` with one space for all white space, and none at its ends."""
    return " ".join(text.split())


def _events(body: str) -> Iterator[dict[str, str]]:
    for line in body.split("\n"):
        if line.startswith("data: "):
            yield json.loads(line[6:])
