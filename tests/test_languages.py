"""Codes, names and spellings of languages."""

import _pywhispercpp as pw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.languages import LANGUAGES, language_code


def test_the_table_is_whisper_cpps_own():
    """Codes, names and order are what whisper.cpp knows, so a code is a token index."""
    ids = range(pw.whisper_lang_max_id() + 1)
    assert list(LANGUAGES) == [pw.whisper_lang_str(number) for number in ids]
    assert [pw.whisper_lang_id(name) for name in LANGUAGES.values()] == list(ids)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("German", "de"),
        (" FRENCH ", "fr"),
        ("haitian  creole", "ht"),
        ("pt-BR", "pt"),
        ("zh_cn", "zh"),
        ("zh-HK", "zh"),
        ("deu", "de"),
        ("eng", "en"),
        ("cmn", "zh"),
        ("yue", "yue"),
        ("iw", "he"),
        ("nb", "no"),
        ("jv", "jw"),
        ("cantonese", "yue"),
        ("castilian", "es"),
    ],
)
def test_common_spellings_are_understood(text, code):
    """Codes, names, regions and three-letter codes, in any case."""
    assert language_code(text) == code


@pytest.mark.parametrize("text", ["", "xx", "klingon", "auto", "e n", "-en", "english please"])
def test_what_names_no_language_is_none(text):
    """The caller decides what to do; nothing is guessed."""
    assert language_code(text) is None


def test_every_name_and_code_leads_to_its_language():
    """No spelling hides another language's code."""
    for code, name in LANGUAGES.items():
        assert language_code(code) == language_code(name) == language_code(name.title()) == code


@given(st.text())
def test_any_text_gives_a_known_code_or_none(text):
    """User input never raises."""
    assert language_code(text) in {None, *LANGUAGES}
