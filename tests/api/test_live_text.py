"""Events of a live session as messages."""

import json

from whisper_router.api.forms import ResponseFormat
from whisper_router.api.live_order import LiveOrder, Patience
from whisper_router.api.live_text import LiveText
from whisper_router.domain import TranscriptionRequest
from whisper_router.live.events import Confirmed, Final, Lag, SpeechStarted, Tentative
from whisper_router.live.words import LiveWord

HELLO, WORLD = (
    LiveWord(text=text, start_s=start_s, end_s=start_s + 0.5, probability=0.5)
    for text, start_s in ((" Hello,", 1.0), (" world.", 1.5))
)


def text(response_format=ResponseFormat.JSON, *, interim=False) -> LiveText:
    return LiveText(
        LiveOrder(
            request=TranscriptionRequest(model="m"),
            response_format=response_format,
            interim=interim,
            patience=Patience(no_data_s=1, inactivity_s=1),
        )
    )


def final(*words, number=1):
    return Final(utterance=number, start_s=0.8, end_s=2.2, words=words, language="en")


def test_each_message_holds_all_confirmed_text():
    """Of every utterance; what is tentative is not told unless it is asked for."""
    live = text()
    assert not live.take(SpeechStarted(utterance=1, at_s=0.8))
    assert not live.take(Tentative(utterance=1, text="Hello"))
    assert live.take(Confirmed(utterance=1, words=[HELLO]))
    assert json.loads(live.message(2.0)) == {"text": "Hello,"}
    assert live.take(Confirmed(utterance=1, words=[WORLD]))
    assert not live.take(final(HELLO, WORLD))
    assert not live.take(Lag(lag_s=3, step_s=1))
    live.take(Confirmed(utterance=2, words=[HELLO]))
    assert json.loads(live.message(4.0)) == {"text": "Hello, world. Hello,"}


def test_text_is_nothing_but_text():
    """No JSON, no line break."""
    live = text(ResponseFormat.TEXT)
    assert live.message(0.0) == ""
    live.take(Confirmed(utterance=1, words=[HELLO, WORLD]))
    assert live.message(2.0) == "Hello, world."


def test_interim_tells_what_is_tentative_and_how_late_it_is():
    """With the final there is no tentative text left."""
    live = text(interim=True)
    assert live.take(Tentative(utterance=1, text="Hell"))
    assert live.take(Lag(lag_s=3.456, step_s=1))
    assert json.loads(live.message(1.0)) == {"text": "", "tentative": "Hell", "lag": 3.456}
    assert live.take(Confirmed(utterance=1, words=[HELLO]))
    assert json.loads(live.message(1.0))["tentative"] == ""
    assert live.take(Tentative(utterance=1, text="wor"))
    assert live.take(final(HELLO, WORLD))
    assert json.loads(live.message(1.0))["tentative"] == ""
    assert not live.take(final(number=2))


def test_verbose_json_has_an_utterance_as_a_segment_and_all_words():
    """The one that goes on is the last segment; words are bare, as in the file API."""
    live = text(ResponseFormat.VERBOSE_JSON)
    live.take(Confirmed(utterance=1, words=[HELLO, WORLD]))
    live.take(final(HELLO, WORLD))
    live.take(Confirmed(utterance=2, words=[HELLO]))
    body = json.loads(live.message(3.0))
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 3.0)
    assert [segment["text"] for segment in body["segments"]] == [" Hello, world.", " Hello,"]
    assert [word["word"] for word in body["words"]] == ["Hello", "world", "Hello"]
    assert round(body["segments"][0]["avg_logprob"], 2) == -0.69


def test_a_final_without_words_is_no_segment():
    """It was a noise."""
    live = text(ResponseFormat.VERBOSE_JSON)
    live.take(final())
    assert json.loads(live.message(3.0))["segments"] == []
