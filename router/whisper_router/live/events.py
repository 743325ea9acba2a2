"""What a live session tells. Times are seconds of the session's audio; utterances count from 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_router.errors import RouterError
from whisper_router.live.words import LiveWord, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """Somebody speaks. `at_s` is where the utterance's audio begins, padding included."""

    utterance: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStopped:
    """Nobody has spoken since `at_s`, which was clear at `known_at_s`.

    An utterance that was cut, as somebody asked for or because it is too long, ends without this.
    """

    utterance: int
    at_s: float
    known_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tentative:
    """The text after the confirmed words, as it is heard now. It replaces the one before.

    It is told again after `Confirmed`, unless there is none any more.
    """

    utterance: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Words that follow those confirmed before and never change."""

    utterance: int
    words: Sequence[LiveWord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """All audio of the utterance is there; `Final` or `Failed` follows."""

    utterance: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """All of an utterance: its words are those that were confirmed. None: it was no speech."""

    utterance: int
    start_s: float
    end_s: float
    words: Sequence[LiveWord]
    language: str | None

    @property
    def text(self) -> str:
        """The words without surrounding white space."""
        return text_of(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The utterance could not be recognised, or not to its end; the session goes on."""

    utterance: int
    start_s: float
    end_s: float
    error: RouterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """All that was said before a cut at `at_s` is told."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What was said before `at_s` and is not told by now is forgotten."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """So much speech was received that no hypothesis has heard yet; told when it changes.

    `step_s` is how much new audio each hypothesis hears: it grows when the engine is slow.
    """

    lag_s: float
    step_s: float


LiveEvent = (
    SpeechStarted
    | SpeechStopped
    | Tentative
    | Confirmed
    | Ended
    | Final
    | Failed
    | Reached
    | Cleared
    | Lag
)
