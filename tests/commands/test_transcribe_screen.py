"""What the bar says. (The bar itself, at a terminal: tests/whole/test_cli_terminal.py.)"""

import io

import pytest
from rich.console import Console

from whisper_router.commands.transcribe_screen import Screen, State


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State(stage="decoding"), "decoding"),
        (State(stage="waiting", position=0), "waiting, next"),
        (
            State(stage="waiting", position=3, estimate_s=11.7),
            "waiting, 3 before it, in about 12 s",
        ),
        (State(stage="transcribing", percent=4.0, estimate_s=0.2), "transcribing, in about 0 s"),
    ],
)
def test_a_state_is_told_in_a_few_words(state, said):
    """The percentage has a column of its own."""
    assert str(state) == said


def test_text_is_printed_as_it_is_and_only_where_it_is_wanted():
    """No markup, no emoji codes, no wrapping; the title comes before the first piece."""
    heard = " [bold]:smile: " + "word " * 40
    for speaks, expected in ((True, f"# a\n{heard.strip()}\n"), (False, "")):
        out = io.StringIO()
        screen = Screen(Console(file=out, width=40), speaks=speaks)
        with screen.view("[a].wav", title="# a") as view:
            view.show(State(stage="decoding"))
            view.say("  ")
            view.say(heard)
            assert view.has_spoken is speaks
            assert not view.is_seen
        assert out.getvalue() == expected


def test_an_error_is_one_line():
    """However narrow the terminal."""
    out = io.StringIO()
    Screen(Console(file=out, width=20), speaks=False).complain("a [b] c: " + "x " * 30)
    assert out.getvalue().count("\n") == 1
    assert "[b]" in out.getvalue()
