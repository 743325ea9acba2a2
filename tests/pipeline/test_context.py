"""The text before a chunk as its prompt."""

from whisper_router.domain import Segment
from whisper_router.pipeline.context import MAX_CHARACTERS, CarriedText


def segment(text: str, **numbers: float) -> Segment:
    return Segment(start_s=0.0, end_s=1.0, text=text, **numbers)


def test_the_users_prompt_comes_first_then_what_was_heard():
    """The user's words are in every chunk's prompt."""
    carried = CarriedText()
    assert carried.prompt("Names: Ines.") == "Names: Ines."
    carried.add([segment(" one"), segment(" two")])
    assert carried.prompt("Names: Ines.") == "Names: Ines. one two"
    assert carried.prompt("") == "one two"


def test_only_the_end_of_a_long_text_is_carried():
    """Whisper reads no more of it."""
    carried = CarriedText()
    carried.add([segment(" word")] * 1000)
    assert len(carried.prompt("")) <= MAX_CHARACTERS


def test_unsure_and_repetitive_text_is_not_carried_on():
    """It would make the next chunk worse."""
    for bad in (segment(" x", temperature=0.8), segment(" y", compression_ratio=3.0)):
        carried = CarriedText()
        carried.add([segment(" good"), bad])
        assert carried.prompt("") == ""
        carried.add([segment(" again")])
        assert carried.prompt("") == "again"
