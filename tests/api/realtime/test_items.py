"""Items of a conversation, and the audio that is kept."""

import base64

import pytest
from openai.types.realtime import ConversationItemAdded

from whisper_router.api.realtime.items import (
    MAX_AUDIO_BYTES,
    MAX_ITEMS,
    AudioLog,
    Items,
    new_id,
    new_item,
)
from whisper_router.errors import InvalidParameter
from whisper_router.live.words import LiveWord


def word(text: str) -> LiveWord:
    return LiveWord(text=text, start_s=0, end_s=1, probability=0.5)


def test_items_follow_one_another():
    """Also after one of them was deleted."""
    items, made = Items(), [new_item() for _ in range(3)]
    for item in made[:2]:
        items.commit(item)
    items.delete(made[1].id)
    items.commit(made[2])
    assert [item.previous_id for item in made] == [None, made[0].id, made[1].id]
    assert made[1].is_deleted
    for unknown in (made[1].id, "item_x", 7, None):
        with pytest.raises(InvalidParameter) as caught:
            items.get(unknown)
        assert (caught.value.code, caught.value.param) == ("item_not_found", "item_id")


def test_a_long_conversation_forgets_its_beginning():
    """Memory has a bound."""
    items, made = Items(), [new_item() for _ in range(MAX_ITEMS + 1)]
    for item in made:
        items.commit(item)
    assert items.get(made[1].id) is made[1]
    with pytest.raises(InvalidParameter):
        items.get(made[0].id)


def test_deltas_join_to_the_text():
    """Without the space before the first word."""
    item = new_item()
    deltas = [item.add([word(" Turn"), word(" it")]), item.add([]), item.add([word(" off.")])]
    assert "".join(deltas) == item.text == "Turn it off."


def test_an_item_tells_its_transcript_once_it_is_done():
    """In the shape that the client library knows."""
    item = new_item()
    item.add([word(" hello")])
    assert item.body()["content"] == [{"type": "input_audio", "transcript": None}]
    item.is_done = True
    body = item.body(b"\x01\x02", with_audio=True)
    assert body["content"] == [
        {"type": "input_audio", "transcript": "hello", "audio": base64.b64encode(b"\1\2").decode()}
    ]
    event = {"type": "conversation.item.added", "event_id": "e", "item": body}
    assert ConversationItemAdded.model_validate(event).item.id == item.id


def test_ids_are_unique_and_say_what_they_are_of():
    """As the Realtime API's."""
    assert len({new_id("item") for _ in range(1000)}) == 1000
    assert new_id("sess").startswith("sess_")


def test_audio_is_kept_for_a_while():
    """By the times of the session."""
    log = AudioLog(48_000, at_s=2.0)
    log.append(bytes(range(96)) * 1000)
    assert log.end_s == 4.0
    assert log.read(2.0, 2.001) == bytes(range(48))
    assert log.read(1.0, 2.5) is None
    for _ in range(3):
        log.append(bytes(MAX_AUDIO_BYTES))
    assert log.read(2.0, 2.5) is None
    end_s = log.end_s
    assert end_s == pytest.approx(4 + 3 * MAX_AUDIO_BYTES / 48_000)
    assert log.read(end_s - 1, end_s) == bytes(48_000)
