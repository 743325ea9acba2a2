"""How far requests are: reports, waiting for changes, and what is forgotten."""

import asyncio
from dataclasses import replace

import pytest

from whisper_router.pipeline.progress import KEPT_S, ProgressBoard, Report, Stage, Tracker


def test_percent_counts_speech_and_is_full_only_at_the_end():
    """Silence costs no time, so it counts for nothing."""
    running = Report(owner="", stage=Stage.TRANSCRIBING, speech_s=10, left_s=0, done_s=5)
    assert running.percent == 50.0
    assert replace(running, left_s=10).percent == 25.0
    assert replace(running, left_s=None).percent == 0.0
    nearly = replace(running, done_s=10)
    assert nearly.percent == 99.9
    assert Report(owner="", stage=Stage.DONE, speech_s=0.0).percent == 100.0
    assert Report(owner="").percent == 0.0


async def test_a_change_wakes_who_waits_for_it():
    """Once each, with the new report in place."""
    board = ProgressBoard()
    with board.track("a", owner="me") as tracker:
        waiting = asyncio.create_task(tracker.changed())  # noqa: TID251 - the test awaits it
        await asyncio.sleep(0)
        tracker.update(stage=Stage.DECODING)
        async with asyncio.timeout(15):
            await waiting
        assert tracker.report.stage is Stage.DECODING


def test_an_ended_request_is_done_or_failed_and_kept_for_a_minute():
    """Who asks a moment too late still gets an answer."""
    now_s = 0.0
    board = ProgressBoard(clock=lambda: now_s)
    with board.track("good", owner=""):
        assert board.find("good", owner="").report.stage is Stage.RECEIVING
    with pytest.raises(ValueError, match="x"), board.track("bad", owner=""):
        raise ValueError("x")
    assert board.find("good", owner="").report.stage is Stage.DONE
    assert board.find("bad", owner="").report.stage is Stage.FAILED
    now_s = KEPT_S + 1
    assert board.find("good", owner="") is None


def test_a_failure_that_was_answered_inside_stays_one():
    """A stream that failed late ends like a good one for its handler."""
    board = ProgressBoard()
    with board.track("a", owner="") as tracker:
        tracker.update(stage=Stage.FAILED)
    assert board.find("a", owner="").report.stage is Stage.FAILED


def test_two_clients_may_choose_the_same_id():
    """Neither takes the other's request away."""
    board = ProgressBoard()
    with board.track("a", owner="ann") as anns, board.track("a", owner="ben") as bens:
        assert board.find("a", owner="ann") is anns
        assert board.find("a", owner="ben") is bens
        assert board.find("a", owner="cid") is None


def test_the_percentage_never_goes_back():
    """A file may be longer than it says."""
    tracker = Tracker("")
    tracker.update(stage=Stage.TRANSCRIBING, speech_s=10.0, left_s=0.0, done_s=5.0)
    tracker.update(speech_s=40.0)
    assert tracker.report.percent == 50.0
    tracker.update(done_s=30.0)
    assert tracker.report.percent == 75.0
