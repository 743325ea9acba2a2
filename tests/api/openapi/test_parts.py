"""Operations and schemas as data."""

from whisper_router.api.openapi.parts import FormField, Key, Operation, nullable, record, text


def operation(**changes: object) -> dict:
    usual = {"id": "x", "summary": "X", "tag": "T", "answers": {200: {"description": "Y"}}}
    return Operation(**{**usual, **changes}).to_json()


def test_a_key_brings_its_refusals():
    """401 with any key, 403 where it must be an administrator's, none where none is needed."""
    assert "401" not in operation(key=Key.NONE)["responses"]
    assert operation(key=Key.NONE)["security"] == []
    assert {"401", "500", "503"} <= set(operation()["responses"])
    assert {"401", "403"} <= set(operation(key=Key.ADMIN)["responses"])


def test_an_answer_is_never_replaced_by_a_refusal():
    """A part may describe 503 itself."""
    answered = {503: {"description": "mine"}}
    assert operation(answers=answered)["responses"]["503"] == {"description": "mine"}


def test_what_is_empty_is_left_out():
    """A document for people to read."""
    assert not {"description", "parameters", "requestBody", "x-also-at"} & set(operation())


def test_other_names_of_a_field_are_told():
    """In its description."""
    field = FormField(name="a", schema=text("Words."), aliases=["b", "c"])
    assert field.described["description"] == "Words. Also `b`, `c`."


def test_null_is_a_choice_of_a_nullable_enumeration():
    """Or no value would satisfy both."""
    assert nullable(text("x", enum=["a"])) == {
        "type": ["string", "null"],
        "description": "x",
        "enum": ["a", None],
    }


def test_what_is_not_optional_is_required():
    """In the order of the properties."""
    schema = record("x", {"a": text("a"), "b": text("b"), "c": text("c")}, optional=["b"])
    assert schema["required"] == ["a", "c"]
