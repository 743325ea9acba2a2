"""What `whisper-router listen` shows, and what it reads."""

import contextlib
import io
import json
import re
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.commands.listen import BLOCK_BYTES, ListenOrder, Paper, read_blocks

WIDTH = 20
PARTS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\n)|([^\x1b\n]+)")
WORDS = st.lists(st.sampled_from(["a", "bb", "yankee", "sierra", "november"]), max_size=6)


def screen(printed: str, width: int = WIDTH) -> list[str]:
    """Return the lines that a terminal shows."""
    lines, column = [""], 0
    for number, command, newline, text in PARTS.findall(printed):
        if newline:
            lines.append("")
            column = 0
        elif text:
            lines[-1] = lines[-1][:column] + text + lines[-1][column + len(text) :]
            column += len(text)
            assert column <= width, "the terminal would break the line itself"
        elif command == "D":
            column -= int(number)
        elif command == "K":
            lines[-1] = lines[-1][:column]
    return [line.rstrip() for line in lines]


def message(text: str, tentative: str = "") -> str:
    return json.dumps({"text": text, "tentative": tentative})


def test_confirmed_text_grows_and_what_may_change_stands_behind_it(capsys):
    """The latter is replaced, and gone at the end."""
    paper = Paper(WIDTH)
    paper.write(message("", "zulu"))
    paper.write(message("zulu", "yanking"))
    paper.write(message("zulu yankee", "whisky"))
    shown = capsys.readouterr().out
    assert screen(shown) == ["zulu yankee whisky"]
    paper.write(message("zulu yankee whiskey", ""))
    paper.end()
    assert screen(shown + capsys.readouterr().out) == ["zulu yankee whiskey", ""]


def test_elsewhere_only_confirmed_text_is_printed(capsys):
    """Nothing that is not text, on one line."""
    paper = Paper(None)
    for text in ("", "zulu", "zulu yankee whiskey victor"):
        paper.write(message(text, "and more"))
    paper.end()
    assert capsys.readouterr().out == "zulu yankee whiskey victor\n"


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_whatever_comes_lines_are_whole_and_no_word_is_lost(steps):
    """No line is longer than the terminal, whose own breaks would leave rests behind."""
    printed, said = io.StringIO(), []
    with contextlib.redirect_stdout(printed):
        paper = Paper(WIDTH)
        for new, tentative in steps:
            said += new
            paper.write(message(" ".join(said), " ".join(tentative)))
        paper.end()
    assert " ".join(screen(printed.getvalue())).split() == said


def test_a_wav_of_any_rate_becomes_blocks_of_what_the_server_wants(tmp_path):
    """A second of stereo at 44.1 kHz is ten blocks; the last one may be short."""
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44_100)
        out.writeframes(b"\x00\x10" * 88_200)
    blocks = list(read_blocks(path))
    assert {len(block) for block in blocks[:-1]} == {BLOCK_BYTES}
    assert abs(sum(map(len, blocks)) - 32_000) <= 64
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(BLOCK_BYTES + 6))
    assert [len(block) for block in read_blocks(raw)] == [BLOCK_BYTES, 6]


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_the_url_may_end_with_v1_or_not(url):
    """As for `transcribe --url`."""
    order = ListenOrder(
        path=None, url=url, api_key=None, model="m", language=None, prompt="", as_json=False
    )
    assert order.address == "http://h:1/v1/audio/transcriptions"
    assert "language" not in order.query
