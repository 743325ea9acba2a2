"""Fields in every spelling."""

import math
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.fields import (
    Fields,
    boolean,
    choice,
    duration_s,
    integer,
    number,
    parse_json,
)
from whisper_router.errors import InvalidParameter


class Colour(StrEnum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    "spelling",
    [
        [("c[]", "red"), ("c[]", "blue")],
        [("c", "red"), ("c", "blue")],
        [("c[0]", "red"), ("c[1]", "blue")],
        [("c", "red,blue")],
        [("c[]", " red , blue ")],
        [("c", '["red", "blue"]')],
        [("c[]", '["red","blue"]')],
        [("c", ""), ("c[]", "red"), ("c[]", " "), ("c", "blue")],
    ],
)
def test_an_array_of_words_is_read_in_every_spelling(spelling: list[tuple[str, str]]):
    """SDKs, curl and people each have their own."""
    assert Fields(spelling).words("c") == ["red", "blue"]


def test_items_with_commas_survive_where_brackets_say_that_they_are_items():
    """A keyword may be a phrase; a data URL always holds a comma."""
    fields = Fields([("k[]", "Dr. Smith, MD"), ("k", "one, two"), ("d", "data:a;base64,AA==")])
    assert fields.phrases("k") == ["Dr. Smith, MD", "one", "two"]
    assert fields.values("d") == ["data:a;base64,AA=="]


@pytest.mark.parametrize("value", ["[1]", "[", '[["a"]]', '{"a":1', "[" * 100_000])
def test_an_array_that_is_none_is_refused(value: str):
    """Only strings are items; broken and endlessly nested JSON is the caller's mistake."""
    if value.startswith("{"):
        with pytest.raises(InvalidParameter):
            parse_json("a", value)
    else:
        with pytest.raises(InvalidParameter) as caught:
            Fields([("a", value)]).words("a")
        assert caught.value.param == "a"


def test_an_item_in_brackets_is_a_text_unless_it_is_an_array():
    """Brackets in a name say already that there are several values."""
    spelt = [("k[]", "[Ann]"), ("k[1]", '[Bo], "x"'), ("k[]", '["Cy"]'), ("k[]", "[" * 100_000)]
    fields = Fields(spelt)
    assert fields.values("k") == ["[Ann]", '[Bo], "x"', "Cy", "[" * 100_000]
    assert fields.phrases("k") == fields.values("k")
    for wrong in ([("k", "[Ann]")], [("k[]", "[1]")]):
        with pytest.raises(InvalidParameter):
            Fields(wrong).values("k")


def test_half_a_surrogate_pair_is_refused():
    """JSON can spell what no UTF-8 can hold; engines that are handed it crash."""
    with pytest.raises(InvalidParameter, match="Unicode"):
        Fields([("k", '["\\ud800"]')]).phrases("k")
    assert Fields([("k", '["\\ud83d\\ude00"]')]).phrases("k") == ["\N{GRINNING FACE}"]


def test_object_keys_in_an_array_are_refused():
    """`include[x]=...` is a mistake, not an item."""
    with pytest.raises(InvalidParameter, match="array"):
        Fields([("a[x]", "1")]).words("a")


def test_the_last_of_several_values_counts_and_blank_ones_do_not():
    """Web forms send every field, filled in or not."""
    fields = Fields([("a", "1"), ("a", "2"), ("a", "  "), ("b", ""), ("c", "3")])
    assert fields.text("a") == "2"
    assert fields.text("b") is None
    assert fields.text("b", "c") == "3"
    assert fields.mapping("a") == {}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("true", True), ("True", True), ("1", True), ("no", False), (" 0 ", False), ("OFF", False)],
)
def test_booleans_are_read_in_any_case(text: str, meaning: bool):
    """Python prints `True`, JavaScript `true`, curl users write 1."""
    assert boolean("b", text) is meaning


@pytest.mark.parametrize(
    "text",
    ["nan", "inf", "-inf", "1e999", "0x1", "1_0", "\u0661", "", "1,5", "2", "-0.1", "1" * 5000],
)
def test_numbers_outside_the_range_or_of_another_notation_are_refused(text: str):
    """`float()` would take several of these."""
    with pytest.raises(InvalidParameter):
        number("n", text, low=0, high=1)


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), (" .5 ", 0.5), ("5e-1", 0.5)])
def test_decimal_numbers_are_read(text: str, value: float):
    """Every client's way of writing a number."""
    assert number("n", text, low=0, high=1) == value


@pytest.mark.parametrize("text", ["1.0", "9", "0", "x", "9" * 5000, "²"])
def test_whole_numbers_are_whole_and_in_range(text: str):
    """No rounding on the quiet."""
    with pytest.raises(InvalidParameter):
        integer("i", text, low=1, high=8)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        (" 5m ", 300.0),
        ("1.5H", 5400.0),
        ("250ms", 0.25),
        ("-1", math.inf),
    ],
)
def test_durations_are_read(text: str, seconds: float):
    """Seconds, or with a unit; a negative one has no end, as with Ollama's `keep_alive`."""
    assert duration_s("d", text) == seconds


@pytest.mark.parametrize("text", ["soon", "5 m", "1h30m", "1e3", "²", "9" * 5000, "inf"])
def test_durations_of_another_notation_are_refused(text: str):
    """The message says which are understood."""
    with pytest.raises(InvalidParameter, match="ms, s, m or h"):
        duration_s("d", text)


def test_absent_values_stay_absent():
    """None is not a value."""
    assert boolean("b", None) is None
    assert duration_s("d", None) is None
    assert number("n", None, low=0, high=1) is None
    assert integer("i", None, low=0, high=1) is None


def test_a_wrong_choice_names_the_right_ones_and_does_not_repeat_a_novel():
    """The message is for a person."""
    with pytest.raises(InvalidParameter, match="'red', 'blue'") as caught:
        choice("colour", "g" * 10_000, Colour)
    assert len(str(caught.value)) < 200


@given(st.lists(st.tuples(st.text(), st.text())), st.text())
def test_no_form_is_too_strange_to_read(fields: list[tuple[str, str]], name: str):
    """Whatever comes, the answer is a value or our own error."""
    form = Fields(fields)
    form.text(name)
    form.mapping(name)
    for read in (form.words, form.phrases, form.values):
        try:
            items = read(name)
        except InvalidParameter:
            continue
        assert all(item.strip() for item in items)
