"""More speech that the demo model understands: its words in any order, in several voices."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.speech import floats, say

TEXT = """zero one two three four five six seven eight nine alpha bravo charlie delta echo foxtrot
golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango uniform victor
whiskey yankee zulu red green blue yellow black white orange purple start stop open close left right
yes no hello world"""
WORDS = TEXT.split()
VOICES = ("en-us", "en-gb", "en-us+m3", "en-gb+m1", "en-us+f2")
"""The model knows these voices; the order of the words is new to it."""
GAP_S = 0.9
QUIET = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What is said, and the samples of it at 16 kHz."""

    text: str
    audio: NDArray[np.float32]


def phrases(folder: Path, *, seed: int, words: range) -> Iterator[Phrase]:
    """Yield ever more phrases of so many words, none of them said twice in a row."""
    dice = random.Random(seed)
    while True:
        text = " ".join(dice.sample(WORDS, dice.choice(words)))
        path = say(text, folder / "phrase.wav", voice=dice.choice(VOICES))
        yield Phrase(text=text, audio=_spoken(floats(path)))


def joined_phrases(parts: list[Phrase], *, gap_s: float = GAP_S) -> Phrase:
    """Return phrases as one, with silence after each."""
    silence = np.zeros(int(gap_s * 16_000), np.float32)
    return Phrase(
        text=" ".join(part.text for part in parts),
        audio=np.concatenate([piece for part in parts for piece in (part.audio, silence)]),
    )


def _spoken(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return it without the silence around it."""
    loud = np.flatnonzero(np.abs(audio) > QUIET)
    return audio[loud[0] : loud[-1] + 1]
