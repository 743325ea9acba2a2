"""Segments as live words."""

import pytest

from whisper_router.domain import Segment, Word
from whisper_router.live.words import LiveWord, sounds_complete, text_of, words_in


def word(text, start_s, end_s):
    return Word(text=text, start_s=start_s, end_s=end_s, probability=0.9)


def test_words_keep_the_spelling_of_the_text_and_move_to_the_sessions_timeline():
    """Joined they are the text; the last one of a segment says so."""
    segments = [
        Segment(
            start_s=0,
            end_s=1,
            text=" Hello, world.",
            words=(word("Hello,", 0, 0.4), word("world.", 0.5, 1)),
        ),
        Segment(start_s=1, end_s=2, text="東京", words=(word("東", 1, 1.5), word("京", 1.5, 2))),
    ]
    words = words_in(segments, offset_s=10)
    assert [word.text for word in words] == [" Hello,", " world.", "東", "京"]
    assert [word.start_s for word in words] == [10, 10.5, 11, 11.5]
    assert [word.ends_segment for word in words] == [False, True, False, True]
    assert text_of(words) == "Hello, world.東京"


def test_a_segment_without_word_times_is_split_at_spaces():
    """Longer words get more of the time; words that are not those of the text count as none."""
    for stamped in ((), (word("other", 0, 1),)):
        segment = Segment(start_s=2, end_s=4, text=" one three", words=stamped)
        words = words_in([segment], offset_s=0)
        assert [(word.text, word.start_s, word.end_s) for word in words] == [
            (" one", 2, 2.75),
            (" three", 2.75, 4),
        ]


def test_text_after_the_last_word_belongs_to_it():
    """A quotation mark that the engine stamps with no time is not lost."""
    segment = Segment(start_s=0, end_s=1, text=' "yes".', words=(word("yes", 0, 1),))
    assert text_of(words_in([segment], offset_s=0)) == '"yes".'


def test_neither_case_nor_punctuation_around_it_makes_another_word():
    """What is inside a word does, and a word of nothing but punctuation is itself."""

    def key(text):
        return LiveWord(text=text, start_s=0, end_s=1, probability=1).key

    assert key(' "Straße,') == key("STRASSE") == "strasse"
    assert key(" can't") != key(" cant")
    assert key(" …") == "…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Turn it off.", True),
        ("Really?", True),
        ('He said "no!"', True),
        ("\u3044\u3044\u3067\u3059\u304b\u3002", True),
        ("and then", False),
        ("and then,", False),
        ("well...", False),
        ("well\u2026", False),
        ("", False),
    ],
)
def test_a_sentence_that_has_ended_sounds_complete(text, expected):
    """As far as punctuation tells; three dots are a pause."""
    assert sounds_complete(text) is expected
