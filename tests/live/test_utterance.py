"""What an utterance tells of itself."""

import pytest

from whisper_router.errors import EngineCrashed
from whisper_router.live.events import Ended, Failed, Final
from whisper_router.live.utterance import Utterance, to_samples, to_seconds
from whisper_router.live.words import LiveWord

RATE_HZ = 16_000


def utterance(*ends_s: float, is_cut: bool = False) -> Utterance:
    """Return one of 10 s whose tentative words last 0.3 s each."""
    made = Utterance(
        number=3, start=0, window=0, asked_to=10 * RATE_HZ, answered_to=0, is_cut=is_cut
    )
    made.agreement.hear([word(end_s) for end_s in ends_s])
    return made


def word(end_s: float) -> LiveWord:
    return LiveWord(text=" w", start_s=end_s - 0.3, end_s=end_s, probability=0.9)


@pytest.mark.parametrize(
    ("ends_s", "is_cut", "end_s"),
    [
        ((5, 9.9), True, 9.6),
        ((5, 9.9), False, 10),
        ((5, 9.2), True, 10),
        ((9.9,), True, 10),
        ((), True, 10),
    ],
)
def test_a_cut_utterance_leaves_a_word_at_its_end_to_the_next_one(ends_s, is_cut, end_s):
    """Unless that is all it holds."""
    assert to_seconds(utterance(*ends_s, is_cut=is_cut).end()) == end_s


def test_its_result_is_its_words_or_why_there_are_none():
    """In seconds of the session."""
    made = utterance()
    made.words, made.language = [word(2.0)], "en"
    place = {"utterance": 3, "start_s": 0.0, "end_s": 9.5}
    assert made.ended(to_samples(9.5)) == Ended(**place)
    assert made.has_ended
    final = Final(**place, words=(word(2.0),), language="en")
    assert made.result(to_samples(9.5), language=None) == final
    made.error = EngineCrashed("It crashed.")
    assert made.result(to_samples(9.5), language=None) == Failed(**place, error=made.error)
