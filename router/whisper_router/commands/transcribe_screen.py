"""What a user sees of `whisper-router transcribe` while it works: a bar, and text above it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

BAR_WIDTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a file is. None is: not known, or nothing waits.

    `position` is the place in the queue of the file's next chunk, 0 for the next one, and
    `estimate_s` is in how many seconds it gets a worker.
    """

    stage: str
    percent: float | None = None
    position: int | None = None
    estimate_s: float | None = None

    def __str__(self) -> str:
        """Return the stage and what is known of the queue, in a few words."""
        words = [self.stage]
        if self.position is not None:
            words.append(f"{self.position} before it" if self.position else "next")
        if self.estimate_s is not None:
            words.append(f"in about {self.estimate_s:.0f} s")
        return ", ".join(words)


class View:
    """One file on the screen."""

    def __init__(self, screen: "Screen", bars: Progress, task: TaskID, title: str) -> None:
        self._screen, self._bars, self._task, self._title = screen, bars, task, title
        self.has_spoken = False

    @property
    def is_seen(self) -> bool:
        """Whether anybody sees the bar."""
        return not self._bars.disable

    @property
    def speaks(self) -> bool:
        """Whether `say` shows anything: the text is wanted where the bar is."""
        return self._screen.speaks

    def show(self, state: State) -> None:
        """Show how far the file is."""
        known = state.percent is not None
        self._bars.update(
            self._task,
            total=100 if known else None,
            completed=state.percent if known else 0,
            percent=f"{state.percent:3.0f} %" if known else "",
            state=str(state),
        )

    def say(self, text: str) -> None:
        """Print a piece of the text above the bar, on lines of its own."""
        if not self.speaks or not (text := text.strip()):
            return
        if self._title and not self.has_spoken:
            self._screen.print(self._title)
        self.has_spoken = True
        self._screen.print(text)


class Screen:
    """The terminal at standard error, if it is one.

    `speaks`: text is printed there as it comes, because the result would be printed there as well.
    """

    def __init__(self, console: Console, *, speaks: bool) -> None:
        self._console, self.speaks = console, speaks

    @classmethod
    def on_stderr(cls, *, prints_text: bool) -> "Screen":
        """Return the screen of this process; `prints_text`: its result is text on stdout."""
        return cls(Console(stderr=True), speaks=prints_text and _is_one_terminal())

    @contextmanager
    def view(self, name: str, *, title: str = "") -> Iterator[View]:
        """Show a file until the block ends; `title` is printed before its text."""
        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[percent]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # results go to standard output, wherever that is
            redirect_stderr=False,
            disable=self._console.is_dumb_terminal or _terminal(sys.stderr) is None,
        )
        with bars:
            task = bars.add_task(name, total=None, percent="", state="")
            yield View(self, bars, task, title)

    def print(self, text: str) -> None:
        """Print a line as it is."""
        self._console.print(Text(text), soft_wrap=True)

    def complain(self, text: str) -> None:
        """Print an error as it is."""
        self._console.print(Text(text), style="red", soft_wrap=True)


def _is_one_terminal() -> bool:
    """Return whether standard output and standard error are the same terminal."""
    out, err = _terminal(sys.stdout), _terminal(sys.stderr)
    return out is not None and out == err


def _terminal(stream: TextIO | None) -> int | None:
    """Return the device of the terminal that a stream is; None: it is none, or closed."""
    try:
        if stream is None or not os.isatty(stream.fileno()):
            return None
        return os.fstat(stream.fileno()).st_rdev
    except (OSError, ValueError):
        return None
