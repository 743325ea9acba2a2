"""Answers of whisper-server, with their strange sides, as events."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router_engines.whisper_server.answer import REPLACED, Answer, repaired


def token(word: str, start: float, end: float, probability: float | None = 0.5) -> dict:
    return {"word": word, "start": start, "end": end, "t_dtw": -1, "probability": probability}


def segment(text: str, start: float, end: float, **fields) -> dict:
    return {"id": 0, "text": text, "start": start, "end": end} | fields


def answer(*segments: dict, language: str = "english", words: bool = False) -> Answer:
    body = {"task": "transcribe", "language": language, "segments": list(segments)}
    return Answer(body=json.loads(json.dumps(body)), duration_s=5.0, with_words=words)


@pytest.mark.parametrize(
    ("name", "code"),
    [("english", "en"), ("haitian creole", "ht"), ("cantonese", "yue"), ("de", "de")],
)
def test_languages_have_names_and_become_codes(name, code):
    """whisper-server writes the English name."""
    assert answer(language=name).language().code == code


def test_a_language_that_does_not_exist_is_no_answer():
    """The engine calls it a crash."""
    with pytest.raises(KeyError):
        answer(language="klingon").language()


def test_times_stay_inside_the_chunk_and_in_order():
    """Padding is heard, too, and rounding goes either way."""
    found = answer(
        segment(" one", -0.1, 1.0), segment(" two", 0.9, 2.0), segment(" three", 2.5, 30.0)
    )
    spans = [(s.start_s, s.end_s) for s in found.segments()]
    assert spans == [(0.0, 1.0), (1.0, 2.0), (2.5, 5.0)]


def test_segments_without_a_text_are_none():
    """Nothing was said there."""
    assert [s.text for s in answer(segment("  ", 0, 1), segment(" one\n", 1, 2)).segments()] == [
        " one"
    ]


def test_a_number_that_is_none_is_zero():
    """The mean over no tokens is NaN, for which JSON has null."""
    (found,) = answer(segment(" one", 0, 1, avg_logprob=None, no_speech_prob=None)).segments()
    assert (found.avg_logprob, found.no_speech_prob) == (0.0, 0.0)


def test_tokens_become_words():
    """What it calls words are tokens; a word's probability is their mean."""
    tokens = [token(" al", 0.0, 0.4, 0.5), token("pha", 0.4, 1.0, 1.0), token(" bravo", 1.0, 2.0)]
    (found,) = answer(segment(" alpha bravo", 0, 2, words=tokens), words=True).segments()
    assert [(w.text, w.start_s, w.end_s) for w in found.words] == [
        ("alpha", 0.0, 1.0),
        ("bravo", 1.0, 2.0),
    ]
    assert found.words[0].probability == pytest.approx(0.75)


def test_words_that_were_not_asked_for_are_not_given():
    """Their times were not computed."""
    tokens = [{"word": " alpha", "probability": 0.5}]
    (found,) = answer(segment(" alpha", 0, 2, words=tokens)).segments()
    assert not found.words


@pytest.mark.parametrize("probability", [0.0, None])
def test_a_token_without_a_probability_has_the_worst(probability):
    """Its logarithm would be minus infinity."""
    tokens = [token(" alpha", 0.0, 1.0, probability)]
    (found,) = answer(segment(" alpha", 0, 2, words=tokens), words=True).segments()
    assert found.words[0].probability == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("tokens", "text", "whole"),
    [
        ([" a", REPLACED, REPLACED, " b"], " aé b", [" a", "é", "", " b"]),
        ([" " + REPLACED, REPLACED], " 日", [" 日", ""]),
        ([REPLACED, REPLACED, "x", REPLACED, REPLACED], "日x本", ["日", "", "x", "本", ""]),
        ([" a", " b"], " a b", [" a", " b"]),
        ([" a", REPLACED], " a" + REPLACED, [" a", REPLACED]),
        ([], "", []),
    ],
)
def test_characters_that_tokens_share_are_repaired(tokens, text, whole):
    """Each token shows its part as U+FFFD; the segment's text has the character."""
    assert repaired(tokens, text) == whole


@given(st.lists(st.text("ab é日本🙂", min_size=1, max_size=4), max_size=6), st.data())
def test_nothing_is_lost_or_doubled_however_characters_are_split(words, data):
    """The repaired tokens joined are the text."""
    text = "".join(words)
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=8)))
    edges = [0, *[cut for cut in cuts if cut < len(raw)], len(raw)]
    tokens = [raw[a:b].decode(errors="replace") for a, b in pairwise(edges)]
    found = repaired([token for token in tokens if token], text)
    assert "".join(found) == text
