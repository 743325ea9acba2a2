"""What is heard, as events of the Realtime API."""

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from whisper_router.api.realtime.config import LOGPROBS, TENTATIVE, SessionConfig
from whisper_router.api.realtime.items import Items
from whisper_router.api.realtime.tellers import ByCommits, ByTurns
from whisper_router.errors import EngineCrashed
from whisper_router.live.events import (
    Cleared,
    Confirmed,
    Ended,
    Failed,
    Final,
    Lag,
    SpeechStarted,
    SpeechStopped,
    Tentative,
)
from whisper_router.live.words import LiveWord

KNOWN = TypeAdapter(RealtimeServerEvent)
PLAIN = SessionConfig()
FULL = SessionConfig(include=[LOGPROBS, TENTATIVE])
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def word(text: str) -> LiveWord:
    return LiveWord(text=text, start_s=0, end_s=1, probability=0.5)


def final(utterance: int) -> Final:
    return Final(utterance=utterance, start_s=1, end_s=3, words=(), language="en")


def tell(teller, events, config=PLAIN, begin_s=0.0):
    """Return what is sent; each event is one that the client library knows."""
    told = [body for event in events for body in teller.tell(event, config, begin_s=begin_s)]
    for body in told:
        if not body["type"].endswith((".tentative", ".lag")):
            KNOWN.validate_python(body, strict=False)
    return told


def kinds(told):
    return [body["type"].removeprefix("conversation.").removeprefix("item.") for body in told]


def test_with_turn_detection_an_utterance_is_an_item():
    """All its events share an id, and times count from the beginning of the session."""
    teller = ByTurns(Items(), is_beta=False)
    told = tell(
        teller,
        [
            SpeechStarted(utterance=1, at_s=1),
            Confirmed(utterance=1, words=[word(" Turn"), word(" it")]),
            SpeechStopped(utterance=1, at_s=2.5, known_at_s=3),
            Ended(utterance=1, start_s=1, end_s=3),
            Confirmed(utterance=1, words=[word(" off.")]),
            final(1),
        ],
        begin_s=10.0,
    )
    assert kinds(told) == [
        "input_audio_buffer.speech_started",
        "input_audio_transcription.delta",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "added",
        "done",
        "input_audio_transcription.delta",
        "input_audio_transcription.completed",
    ]
    assert told[0]["audio_start_ms"] == 11_000
    assert told[2]["audio_end_ms"] == 13_000
    assert told[-1]["transcript"] == "Turn it off." == told[1]["delta"] + told[6]["delta"]
    assert told[-1]["usage"] == {"type": "duration", "seconds": 2.0}
    assert told[-1]["logprobs"] is None
    ids = {body.get("item_id") or body["item"]["id"] for body in told}
    assert len(ids) == 1
    assert len({body["event_id"] for body in told}) == len(told)
    again = tell(
        teller, [SpeechStarted(utterance=2, at_s=5), Ended(utterance=2, start_s=5, end_s=6)]
    )
    assert again[1]["previous_item_id"] == ids.pop()


def test_the_beta_has_one_event_for_a_new_item():
    """`created`."""
    teller = ByTurns(Items(), is_beta=True)
    told = tell(
        teller, [SpeechStarted(utterance=1, at_s=0), Ended(utterance=1, start_s=0, end_s=1)]
    )
    assert kinds(told)[1:] == ["input_audio_buffer.committed", "created"]


def test_an_utterance_that_fails_says_why():
    """In place of `completed`; the next one is none the worse."""
    teller = ByTurns(Items(), is_beta=False)
    error = EngineCrashed("It crashed.")
    told = tell(
        teller,
        [
            SpeechStarted(utterance=1, at_s=0),
            Ended(utterance=1, start_s=0, end_s=1),
            Failed(utterance=1, start_s=0, end_s=1, error=error),
        ],
    )
    assert told[-1]["type"] == f"{TRANSCRIPTION}.failed"
    assert told[-1]["error"] == {
        "type": "server_error",
        "code": "engine_crashed",
        "message": "It crashed.",
        "param": None,
    }


def test_without_turn_detection_an_item_lies_between_two_commits():
    """However many utterances; deltas that come before the commit have its id already."""
    teller = ByCommits(Items(), is_beta=False)
    early = tell(teller, [Confirmed(utterance=1, words=[word(" red")]), final(1)])
    committed = list(teller.commit(0.0, 4.5))
    late = tell(teller, [Confirmed(utterance=2, words=[word(" green")]), final(2)])
    [done] = teller.reached(PLAIN)
    assert kinds(committed) == ["input_audio_buffer.committed", "added", "done"]
    assert early[0]["item_id"] == committed[0]["item_id"] == late[0]["item_id"] == done["item_id"]
    assert (early[0]["delta"], late[0]["delta"]) == ("red", " green")
    assert done["transcript"] == "red green"
    assert done["usage"]["seconds"] == 4.5
    assert done["languages"] == [{"code": "en"}]


def test_commits_back_to_back_are_completed_in_turn():
    """What is told before the first is reached belongs to the first."""
    teller = ByCommits(Items(), is_beta=False)
    first, second = list(teller.commit(0, 1)), list(teller.commit(1, 2))
    assert second[0]["previous_item_id"] == first[0]["item_id"]
    tell(teller, [Confirmed(utterance=1, words=[word(" one")])])
    [one] = teller.reached(PLAIN)
    tell(teller, [Failed(utterance=2, start_s=1, end_s=2, error=EngineCrashed("It crashed."))])
    [two] = teller.reached(PLAIN)
    assert (one["item_id"], one["transcript"]) == (first[0]["item_id"], "one")
    assert (two["item_id"], two["type"]) == (second[0]["item_id"], f"{TRANSCRIPTION}.failed")


@pytest.mark.parametrize("make", [ByTurns, ByCommits])
def test_what_was_cleared_is_not_part_of_the_next_item(make):
    """Its words are gone, also those that are told after the client has cleared them."""
    teller = make(Items(), is_beta=False)
    told = tell(
        teller,
        [SpeechStarted(utterance=1, at_s=0), Confirmed(utterance=1, words=[word(" red")])],
    )
    if isinstance(teller, ByCommits):
        teller.clear()
        late = [Confirmed(utterance=1, words=[word(" green")]), Tentative(utterance=1, text="x")]
        assert tell(teller, late, FULL) == []
    told += tell(
        teller,
        [
            Cleared(at_s=2),
            SpeechStarted(utterance=2, at_s=3),
            Confirmed(utterance=2, words=[word(" blue")]),
        ],
    )
    assert "input_audio_buffer.cleared" in kinds(told)
    assert told[-1]["delta"] == "blue"
    assert told[-1]["item_id"] not in {body.get("item_id") for body in told[:-2]}


def test_nothing_is_told_of_a_deleted_item():
    """Though it is recognised to its end."""
    items = Items()
    teller = ByCommits(items, is_beta=False)
    [committed, *_] = teller.commit(0, 1)
    items.delete(committed["item_id"])
    assert tell(teller, [Confirmed(utterance=1, words=[word(" red")])]) == []
    assert list(teller.reached(PLAIN)) == []


def test_more_is_told_to_those_who_ask():
    """Log probabilities of words, tentative text, and how late we are."""
    teller = ByTurns(Items(), is_beta=False)
    events = [
        SpeechStarted(utterance=1, at_s=0),
        Confirmed(utterance=1, words=[word(" één")]),
        Tentative(utterance=1, text="twee"),
        Lag(lag_s=2.5, step_s=1.0),
    ]
    told = tell(teller, events, FULL)
    assert told[1]["logprobs"] == [
        {"token": " één", "logprob": -0.693147, "bytes": list(" één".encode())}
    ]
    assert told[2]["type"] == f"{TRANSCRIPTION}.tentative"
    assert (told[2]["text"], told[2]["item_id"]) == ("twee", told[1]["item_id"])
    assert (told[3]["type"], told[3]["lag_s"]) == ("input_audio_buffer.lag", 2.5)
    assert len(tell(ByTurns(Items(), is_beta=False), events)) == 2
