"""Tokens become words."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_router_engines.whispercpp.words import MIN_WORD_S, TimedToken, repaired, words_of

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


def tokens(*parts: bytes, step_s: float = 0.1) -> list[TimedToken]:
    return [
        TimedToken(data=part, start_s=at * step_s, end_s=(at + 1) * step_s, logprob=-0.1)
        for at, part in enumerate(parts)
    ]


def texts(*parts: bytes, language: str = "en") -> list[str]:
    found = words_of(tokens(*parts), language=language, start_s=0.0, end_s=60.0)
    return [word.text for word in found]


def test_words_begin_at_spaces():
    """Pieces and punctuation belong to the word before them."""
    assert texts(b" fo", b"xt", b"rot", b",", b" kilo", b".") == ["foxtrot,", "kilo."]


def test_an_opening_bracket_belongs_to_the_word_after_it():
    """The space stands before the bracket."""
    assert texts(b" one", b" (", b"two", b")") == ["one", "(two)"]


def test_a_lone_space_joins_the_word_after_it():
    """Some vocabularies have the space as a token of its own."""
    assert texts(b" ", b"one", b" ", b"two") == ["one", "two"]


def test_chinese_is_split_by_character():
    """No spaces are written; punctuation stays with the word before it."""
    assert texts("你".encode(), "好".encode(), "。".encode(), language="zh") == ["你", "好。"]


def test_a_character_split_over_tokens_is_one_character():
    """Its word lasts from its first token to its last."""
    raw = "é".encode()
    (word,) = words_of(tokens(b" caf", raw[:1], raw[1:]), language="en", start_s=0.0, end_s=9.0)
    assert (word.text, word.start_s, round(word.end_s, 3)) == ("café", 0.0, 0.3)


def test_a_character_that_never_ends_does_not_lose_the_rest():
    """A cut sequence becomes a replacement character."""
    assert texts(b" a", "é".encode()[:1]) == ["a\ufffd"]


def test_empty_words_share_the_time_up_to_the_next_whole_one():
    """What whisper.cpp gives after a pause: the first words have no length."""
    spans = [(2.8, 2.8), (2.8, 2.8), (3.1, 3.28), (3.28, 4.04)]
    assert repaired(spans, weights=[4, 4, 5, 5], start_s=2.8, end_s=4.1) == [
        (2.8, 2.948),
        (2.948, 3.095),
        (3.095, 3.28),
        (3.28, 4.04),
    ]


def test_a_lone_empty_word_gets_the_segment():
    """There is nothing else that the time could belong to."""
    assert repaired([(5.5, 5.5)], weights=[4], start_s=5.1, end_s=5.5) == [(5.1, 5.5)]


@given(TEXT, st.data())
def test_any_split_of_any_text_gives_its_characters_back(text, data):
    """Tokens may cut anywhere, also inside a character."""
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {0, len(raw)})
    parts = [raw[a:b] for a, b in pairwise(cuts)]
    language = data.draw(st.sampled_from(["en", "zh"]))
    joined = "".join("".join(word.split()) for word in texts(*parts, language=language))
    assert joined == "".join(text.split())


SPANS = st.lists(
    st.tuples(st.floats(-5, 40), st.floats(-5, 40), st.integers(1, 12)), min_size=1, max_size=30
)


@given(SPANS, st.floats(0, 30), st.floats(0, 10))
def test_repaired_spans_are_in_order_and_inside(rows, start_s, length_s):
    """Whatever whisper.cpp says: monotonic, not overlapping, inside the segment."""
    end_s = start_s + length_s
    weights = [row[2] for row in rows]
    spans = repaired([row[:2] for row in rows], weights=weights, start_s=start_s, end_s=end_s)
    assert len(spans) == len(rows)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert start_s <= edges[0]
    assert edges[-1] <= end_s


@given(st.lists(st.floats(0.05, 2), min_size=1, max_size=20))
def test_good_spans_stay_as_they_are(lengths):
    """Repair touches only what is broken."""
    spans, at = [], 0.0
    for length in lengths:
        spans.append((at, at + length))
        at += length + MIN_WORD_S
    assert repaired(spans, weights=[3] * len(spans), start_s=0.0, end_s=at) == spans
