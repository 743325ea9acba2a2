"""A live session on recorded answers of the real engine, and on speakers made up for the case."""

from itertools import cycle, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.live_replay import OPTIONS, Recording, answer_all, recordings, straight
from support.live_script import RATE_HZ, Speaker, finals, play
from support.live_script import answer_all as let_speak
from support.speech import sample
from whisper_router.errors import EngineCrashed
from whisper_router.live.events import (
    Cleared,
    Confirmed,
    Ended,
    Failed,
    Final,
    Lag,
    Reached,
    SpeechStarted,
    SpeechStopped,
    Tentative,
)
from whisper_router.live.session import LiveOptions, LiveSession
from whisper_router.live.turns import WINDOW, TurnOptions
from whisper_router.live.words import text_of

RECORDINGS = list(recordings())
STRAIGHT = [straight(recording) for recording in RECORDINGS]


def told(events):
    """All but how late the engine is: that is the one thing that the cuts may change."""
    return [event for event in events if not isinstance(event, Lag)]


def replayed(recording: Recording, pieces, waits):
    """Return the events for audio in such pieces, with so many pieces between the answers."""
    session, events = LiveSession(OPTIONS), []
    sizes, pauses, wait, at = cycle(pieces), cycle(waits), 0, 0
    while at < len(recording.probabilities):
        end = min(at + next(sizes), len(recording.probabilities))
        while session.room < (end - at) * WINDOW:
            request = session.take_request()
            assert request is not None
            recording.answer(session, request)
        recording.hear(session, at, end)
        at, wait = end, wait - 1
        if wait <= 0 and (request := session.take_request()) is not None:
            recording.answer(session, request)
            wait = next(pauses)
        events += session.take_events()
    session.cut()
    answer_all(recording, session)
    return [*events, *session.take_events()]


@settings(max_examples=200)
@given(
    number=st.integers(0, len(RECORDINGS) - 1),
    pieces=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    waits=st.lists(st.integers(0, 40), min_size=1, max_size=4),
)
def test_any_chunking_and_any_delay_of_answers_tell_the_same(number, pieces, waits):
    """Which words are confirmed when, and every final, follow from the audio alone."""
    assert told(replayed(RECORDINGS[number], pieces, waits)) == told(STRAIGHT[number])


@pytest.mark.parametrize("number", range(len(RECORDINGS)))
def test_finals_are_what_is_said_and_hold_the_confirmed_words(number):
    """For a fast and for a slow engine; confirmed words come in order and are never taken back."""
    events, expected = STRAIGHT[number], sample(RECORDINGS[number].sample)
    assert " ".join(final.text for final in finals(events)) == expected.text
    for final in finals(events):
        confirmed = [
            word
            for event in events
            if isinstance(event, Confirmed) and event.utterance == final.utterance
            for word in event.words
        ]
        assert confirmed == list(final.words)
        assert final.language == expected.language


@pytest.mark.parametrize("number", range(len(RECORDINGS)))
def test_utterances_come_one_after_the_other(number):
    """Started, ended, final; the audio of one ends before that of the next begins."""
    kinds = (SpeechStarted, Ended, Final)
    assert STRAIGHT[number][-1] == Reached(at_s=RECORDINGS[number].duration_s)
    seen = [event for event in STRAIGHT[number] if isinstance(event, kinds)]
    assert [type(event) for event in seen] == list(kinds) * (len(seen) // 3)
    edges = [edge for final in finals(seen) for edge in (final.start_s, final.end_s)]
    assert edges == sorted(edges)


def test_a_slow_engine_is_asked_less_often_and_told_of():
    """Nothing is left out: the words are the same."""
    fast, slow = (item for item in RECORDINGS if item.sample == "en_two_speakers_long")
    assert len(slow.answers) < len(fast.answers) / 3
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=1, end_s=21)
    events = play(session, speaker, seconds=25, took_s=2.0)
    steps = {(b.end - a.end) / RATE_HZ for a, b in pairwise(speaker.asked)}
    assert max(steps) == 3.0
    [final] = finals(events)
    assert [word.text.strip() for word in final.words] == [word[0] for word in speaker.words]


def test_the_end_of_speech_needs_no_further_hypothesis():
    """The pause was heard, so the final is there as soon as the silence is long enough."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.96, end_s=1.984)
    events = play(session, speaker, seconds=1.984 + 0.48)
    assert finals(events) == []
    events = play(session, Speaker(begin_s=9, end_s=9), seconds=0.032)
    assert [final.text for final in finals(events)] == ["w0 w1"]
    assert speaker.asked[-1].end / RATE_HZ == pytest.approx(1.984 + 0.3, abs=0.04)


def test_silence_is_counted_from_the_end_of_speech():
    """Also before anybody has spoken; not in the short silence that may be a pause."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.96, end_s=1.984)
    play(session, speaker, seconds=0.96)
    assert session.silence_s == pytest.approx(0.96)
    play(session, Speaker(begin_s=0, end_s=1), seconds=1.28)
    assert session.silence_s == 0.0
    play(session, Speaker(begin_s=9, end_s=9), seconds=0.64)
    assert session.silence_s == pytest.approx(0.92, abs=0.04)


def test_what_is_heard_so_far_is_shown_before_it_is_confirmed():
    """The tentative text follows the confirmed words, and is replaced."""
    events = play(LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=4.5), seconds=6)
    shown = [event.text for event in events if isinstance(event, Tentative)]
    assert len(set(shown)) > 4
    at = [number for number, event in enumerate(events) if isinstance(event, Confirmed)]
    assert all(isinstance(events[number + 1], Tentative) for number in at[:-2])
    first = next(event for event in events if isinstance(event, Confirmed))
    assert events.index(first) > next(
        number for number, event in enumerate(events) if isinstance(event, Tentative)
    )


def test_a_long_window_is_cut_at_the_end_of_a_confirmed_segment_and_its_words_become_the_prompt():
    """No hypothesis hears much more than `trim_s`, and each begins where a segment ended."""
    session = LiveSession(LiveOptions(trim_s=5), prompt="Names: Ines.")
    speaker = Speaker(begin_s=1, end_s=31)
    [final] = finals(play(session, speaker, seconds=33))
    assert [word.text.strip() for word in final.words] == [word[0] for word in speaker.words]
    assert max(asked.end - asked.start for asked in speaker.asked) < 8 * RATE_HZ
    ends = {round(end * RATE_HZ) for _, _, end in speaker.words[3::4]}
    assert {asked.start for asked in speaker.asked[1:]} - ends == {speaker.asked[0].start}
    last = speaker.asked[-1]
    assert last.prompt.startswith("Names: Ines. w")
    assert len(last.prompt) <= len("Names: Ines. ") + 200


@pytest.mark.parametrize("pace_s", [0.5, 40.0])
def test_a_window_never_grows_beyond_its_limit(pace_s):
    """Also when the engine ends no segment, and when there is noise and no words."""
    session = LiveSession(LiveOptions(max_window_s=10))
    speaker = Speaker(begin_s=1, end_s=41, pace_s=pace_s, segment_words=0)
    [final] = finals(play(session, speaker, seconds=43))
    assert [word.text.strip() for word in final.words] == [word[0] for word in speaker.words]
    assert max(asked.end - asked.start for asked in speaker.asked) == 10 * RATE_HZ


def test_a_speaker_who_does_not_stop_is_cut_between_two_words():
    """Each utterance ends in time, and the next one begins where it ended."""
    session = LiveSession(LiveOptions(max_utterance_s=7.2))
    speaker = Speaker(begin_s=1, end_s=31)
    said = finals(play(session, speaker, seconds=33))
    assert len(said) > 4
    words = [word.text.strip() for final in said for word in final.words]
    assert words == [word[0] for word in speaker.words]
    for one, other in pairwise(said):
        assert one.end_s == other.start_s
        assert one.end_s - one.start_s <= 7.2


def test_a_backlog_is_bounded_and_lag_is_told():
    """An engine that does not answer: room shrinks to nothing, and grows again with answers."""
    options = LiveOptions(max_window_s=5, max_backlog_s=5, trim_s=3)
    session, speaker = LiveSession(options), Speaker(begin_s=0.5, end_s=30)
    at, window = 0, np.zeros(WINDOW, dtype=np.float32)
    while session.room:
        session.hear(window, [speaker.probability(at)])
        at += WINDOW
    assert at <= (5 + 5 + 1) * RATE_HZ
    lags = [event for event in session.take_events() if isinstance(event, Lag)]
    assert [int(lag.lag_s) for lag in lags][-1] == 10
    with pytest.raises(BufferError):
        session.hear(window, [0.9])
    let_speak(session, speaker)
    assert session.room > 5 * RATE_HZ
    assert [event.lag_s for event in session.take_events() if isinstance(event, Lag)][-1] == 0.0


def test_the_language_is_kept_from_the_first_confirmed_word_on():
    """Two hypotheses must have heard the same one; a language that was named is always asked."""
    session, speaker, asked = LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=8), []
    heard = iter(["de", "en", "fr", "fr"])
    for at in range(0, 8 * RATE_HZ, WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [speaker.probability(at)])
        while (request := session.take_request()) is not None:
            asked.append(request.language)
            language = request.language or next(heard)
            session.answer(speaker.answer(request), language=language, took_s=0.1)
    assert asked[:5] == [None, None, None, None, "fr"]
    assert set(asked[5:]) == {"fr"}
    named = LiveSession(OPTIONS, language="es")
    speaker = Speaker(begin_s=0.5, end_s=2)
    play(named, speaker, seconds=3)
    assert {request.language for request in speaker.asked} == {"es"}


def test_after_the_end_a_session_may_hear_more():
    """As a client that commits does; what had been said is final by then."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=9)
    events = play(session, speaker, seconds=2)
    session.cut()
    let_speak(session, speaker)
    assert session.is_idle
    assert text_of(finals([*events, *session.take_events()])[0].words).startswith("w0 w1")
    later = Speaker(begin_s=0.2, end_s=1.5)
    shifted = Speaker(begin_s=2.2, end_s=3.2, pace_s=0.5)
    events = []
    for at in range(0, 3 * RATE_HZ, WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [later.probability(at)])
        let_speak(session, shifted)
        events += session.take_events()
    assert [final.utterance for final in finals(events)] == [2]


def test_a_cut_in_mid_word_ends_the_utterance_there():
    """Its last window may be short. What is said after it is another utterance, without overlap."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=6, pace_s=0.5)
    events = play(session, speaker, seconds=2.72)
    session.hear(np.zeros(100, dtype=np.float32), [0.9])
    session.cut()
    let_speak(session, speaker)
    cut_s = round(session.duration_s, 3)
    events += session.take_events()
    assert SpeechStopped not in map(type, events)
    [final] = finals(events)
    assert [event.end_s for event in events if isinstance(event, Ended)] == [cut_s]
    assert final.end_s == cut_s
    assert events[-1] == Reached(at_s=cut_s)
    assert speaker.asked[-1].end == 85 * WINDOW + 100
    later = play(session, Speaker(begin_s=0.0, end_s=9), seconds=0.5)
    assert [event.at_s for event in later if isinstance(event, SpeechStarted)] == [cut_s]


def test_a_cut_between_utterances_is_reached_at_once():
    """Padding does not reach back over it."""
    session = LiveSession(OPTIONS)
    play(session, Speaker(begin_s=9, end_s=9), seconds=1.024)
    session.cut()
    session.cut()
    assert session.take_events() == [Reached(at_s=1.024), Reached(at_s=1.024)]
    [started, *_] = play(session, Speaker(begin_s=1.024, end_s=2), seconds=2)
    assert isinstance(started, SpeechStarted)


def test_what_is_cleared_is_never_told():
    """Also when a hypothesis of it runs just then; what comes after it is."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=20)
    request = None
    for at in range(0, 3 * RATE_HZ, WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [speaker.probability(at)])
        request = session.take_request() or request
    assert request is not None
    session.clear()
    assert Cleared not in map(type, session.take_events())
    session.answer(speaker.answer(request), language="en", took_s=0.1)
    let_speak(session, speaker)
    events = session.take_events()
    assert isinstance(events[-1], Cleared)
    assert session.is_idle
    assert finals(events) == []
    later = play(session, Speaker(begin_s=0.3, end_s=1.3), seconds=3)
    assert [final.utterance for final in finals(later)] == [2]


def test_an_utterance_that_fails_is_told_of_when_it_ends_and_the_session_goes_on():
    """It holds no more audio, and no engine is asked about it again."""
    session, speaker = LiveSession(LiveOptions(max_utterance_s=20)), Speaker(begin_s=0.5, end_s=15)
    error, events, asked = EngineCrashed("It crashed."), [], 0
    for at in range(0, 17 * RATE_HZ, WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [speaker.probability(at)])
        if session.take_request() is not None:
            asked += 1
            session.refuse(error)
        events += session.take_events()
        assert session.room > 50 * RATE_HZ
    assert asked == 1
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped, Ended, Failed]
    assert events[-1].error is error
    play(session, Speaker(begin_s=0.3, end_s=1.3), seconds=3)
    let_speak(session, speaker)
    assert session.is_idle


@pytest.mark.parametrize("end_s", [1.5, 30])
def test_the_last_answer_of_an_utterance_may_fail_too(end_s):
    """After a cut, and at the greatest length, where the next utterance begins."""
    session = LiveSession(LiveOptions(max_utterance_s=5))
    speaker, error = Speaker(begin_s=0.5, end_s=end_s), EngineCrashed("It crashed.")
    for at in range(0, round(7 * RATE_HZ), WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [speaker.probability(at)])
        if (request := session.take_request()) is not None:
            if request.end - request.start >= RATE_HZ or end_s == 30:
                session.refuse(error)
            else:
                session.answer(speaker.answer(request), language="en", took_s=0.1)
    session.cut()
    while session.take_request() is not None:
        session.refuse(error)
    events = session.take_events()
    failed = [event for event in events if isinstance(event, Failed)]
    assert [event.utterance for event in failed] == ([1] if end_s < 30 else [1, 2])
    assert isinstance(events[-1], Reached)
    assert session.is_idle


@pytest.mark.parametrize(("dot", "later_s"), [(".", 0.6), ("", 2.0)])
def test_a_turn_that_sounds_complete_ends_early(dot, later_s):
    """As `semantic_vad` wants it: a full stop makes the silence short, no full stop long."""
    session = LiveSession(LiveOptions(turns=TurnOptions(silence_s=2.0, early_s=0.6)))
    speaker = Speaker(begin_s=0.512, end_s=2.56, pace_s=0.512, last=dot)
    events = play(session, speaker, seconds=2.56 + later_s - 0.064)
    assert finals(events) == []
    events = play(session, Speaker(begin_s=9, end_s=9), seconds=0.128)
    assert [type(event) for event in events if not isinstance(event, Confirmed)] == [
        SpeechStopped,
        Ended,
        Final,
    ]
    again = play(session, Speaker(begin_s=0.32, end_s=1.0), seconds=1)
    assert [event.utterance for event in again if isinstance(event, SpeechStarted)] == [2]


def test_padding_that_became_longer_does_not_reach_what_is_gone():
    """The audio before speech was kept for the old padding only."""
    session = LiveSession(OPTIONS)
    play(session, Speaker(begin_s=99, end_s=99), seconds=10)
    session.tune(TurnOptions(prefix_s=2.0))
    speaker = Speaker(begin_s=0.3, end_s=1.3)
    [final] = finals(play(session, speaker, seconds=3))
    assert 9.0 < final.start_s < 10.3


def test_nobody_speaks_once_a_turn_that_sounds_complete_was_ended():
    """Though the detector would still wait: a cut has nothing to end."""
    session = LiveSession(LiveOptions(turns=TurnOptions(silence_s=4.0, early_s=0.6)))
    speaker = Speaker(begin_s=0.512, end_s=2.56, pace_s=0.512, last=".")
    events = play(session, speaker, seconds=2.56 + 0.7)
    assert len(finals(events)) == 1
    assert not session.is_speaking
    session.cut()
    assert [type(event) for event in session.take_events()] == [Reached]


def test_a_language_that_was_found_stays_when_something_else_changes():
    """Until one is named, or a named one is taken back."""
    session = LiveSession(OPTIONS)
    play(session, Speaker(begin_s=0.5, end_s=2), seconds=3)
    assert session.language == "en"
    session.expect(language=None, prompt="Ines")
    assert session.language == "en"
    session.expect(language="de", prompt="Ines")
    session.expect(language=None, prompt="Ines")
    assert session.language is None


def test_options_may_change_while_a_session_goes_on():
    """Turns, language and prompt; they hold for what comes."""
    session, speaker = LiveSession(OPTIONS), Speaker(begin_s=0.5, end_s=1.5)
    session.tune(TurnOptions(silence_s=1.5))
    session.expect(language="de", prompt="Names: Ines.")
    assert finals(play(session, speaker, seconds=2.9)) == []
    assert len(finals(play(session, Speaker(begin_s=9, end_s=9), seconds=0.2))) == 1
    assert {(asked.language, asked.prompt) for asked in speaker.asked} == {("de", "Names: Ines.")}


def test_an_answer_that_nobody_asked_for_is_a_bug():
    """It raises."""
    with pytest.raises(RuntimeError):
        LiveSession(OPTIONS).answer([], language="en", took_s=0)


@settings(max_examples=60)
@given(
    length_s=st.floats(0.6, 40),
    pace_s=st.sampled_from([0.4, 0.55, 1.3]),
    segment_words=st.integers(0, 5),
    took_s=st.sampled_from([0.05, 0.6, 3.0]),
    trim_s=st.sampled_from([3.0, 9.0]),
)
def test_no_word_is_lost_or_said_twice(length_s, pace_s, segment_words, took_s, trim_s):
    """Whatever is trimmed, forced and cut."""
    count = max(1, int(length_s / pace_s))
    speaker = Speaker(
        begin_s=0.6, end_s=0.6 + count * pace_s, pace_s=pace_s, segment_words=segment_words
    )
    options = LiveOptions(trim_s=trim_s, max_window_s=12, max_utterance_s=17)
    events = play(LiveSession(options), speaker, seconds=speaker.end_s + 1, took_s=took_s)
    words = [word.text.strip() for final in finals(events) for word in final.words]
    assert words == [word[0] for word in speaker.words]
