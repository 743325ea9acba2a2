"""Work on the board: who sees it, what is kept of it, and how a cancel is told from a leaving."""

import asyncio
from dataclasses import replace

import pytest

from support.processes import begun
from whisper_router.errors import QueueFull, RequestCancelled
from whisper_router.pipeline.activity import KEPT, ActivityBoard, Kind, Origin
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.scheduling.dispatch import FirstTurn

ANNS = Origin(id="a", kind=Kind.TRANSCRIPTION, owner="ann", method="POST", path="/v1/x")


@pytest.fixture
def board():
    """A board whose clocks stand still."""
    return ActivityBoard(clock=lambda: 50.0, unix=lambda: 1000.0)


async def test_work_is_shown_to_its_owner_and_to_administrators(board):
    """While it runs and after; None asks for everybody's."""
    with board.note(ANNS) as activity:
        assert board.running(owner="ann") == board.running(owner=None) == [activity]
        assert board.running(owner="ben") == []
        assert board.find("a", owner="ann") is activity
        assert board.find("a", owner="ben") is None
        assert board.history(owner=None) == []
    assert board.running(owner=None) == []
    assert [item.origin for item in board.history(owner="ann")] == [ANNS]
    assert board.history(owner="ben") == []
    assert activity.ended.is_set()


async def test_two_of_one_id_can_be_told_apart(board):
    """Clients choose their ids; the first keeps its own."""
    with board.note(ANNS) as one, board.note(replace(ANNS, owner="ben")) as two:
        assert (one.origin.id, two.origin.id) == ("a", "a~2")
        assert two.ticket_id == "a"
        assert board.find("a~2", owner="ben") is two


async def test_the_oldest_are_forgotten(board):
    """The latest comes first."""
    for number in range(KEPT + 2):
        with board.note(replace(ANNS, id=str(number))):
            pass
    kept = board.history(owner=None)
    assert (len(kept), kept[0].origin.id, kept[-1].origin.id) == (KEPT, str(KEPT + 1), "2")
    assert len(board.history(owner=None, limit=3)) == 3


async def test_what_has_become_a_job_is_not_kept(board):
    """The job is."""
    with board.note(ANNS) as activity:
        activity.is_forgotten = True
    assert board.history(owner=None) == []


async def test_an_end_tells_error_wait_audio_and_speed():
    """The clock of the day has a part in the beginning only."""
    now = [10.0]
    board = ActivityBoard(clock=lambda: now[0], unix=lambda: 1000.0)
    with pytest.raises(QueueFull), board.note(ANNS) as activity:
        activity.model = "m" * 1000
        activity.tracker, activity.first = Tracker("ann"), FirstTurn(position=0, waited_s=0.0)
        activity.tracker.update(stage=Stage.DECODING, duration_s=4.0)
        now[0] += 2.5
        raise QueueFull("Too many.")
    (ended,) = board.history(owner=None)
    assert (ended.status, ended.code, ended.audio_s) == (429, "rate_limit_exceeded", 4.0)
    assert (ended.started_s, ended.ended_s, ended.wait_s) == (1000.0, 1002.5, 0.0)
    assert len(ended.model) == 200
    assert ended.rtf is not None
    assert 0 <= ended.rtf < 100


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, 500), (None, 200)])
async def test_bugs_and_successes_have_their_status(board, error, status):
    """As their answers have."""
    if error is None:
        with board.note(ANNS):
            pass
    else:
        with pytest.raises(error), board.note(ANNS):
            raise error
    assert board.history(owner=None)[0].status == status


async def hold(board, outcome, *, inner=False):
    """Run until cancelled; note what came out of it."""
    try:
        with board.note(ANNS) as activity:
            try:
                if inner:
                    with activity.last_cancellable():
                        await asyncio.Event().wait()
                else:
                    await asyncio.Event().wait()
            except RequestCancelled:
                outcome.append("told inside")
                assert not activity.is_cancellable
                await asyncio.sleep(0)  # the task itself was not cancelled
    except RequestCancelled:
        outcome.append("told")
    except asyncio.CancelledError:
        outcome.append("left")
        raise


async def started(board, *, inner=False):
    """Return the task, the work and its outcome to come."""
    outcome: list[str] = []
    task = begun(hold(board, outcome, inner=inner))
    while not board.running(owner=None):  # noqa: ASYNC110 - it begins at once
        await asyncio.sleep(0)
    return task, board.running(owner=None)[0], outcome


async def test_a_cancel_is_an_error_and_the_task_goes_on(board):
    """It is told to who waits. A second one changes nothing."""
    task, activity, outcome = await started(board)
    assert activity.cancel()
    assert activity.cancel()
    assert not activity.is_cancellable
    await task
    assert outcome == ["told"]
    assert task.cancelling() == 0
    assert board.history(owner=None)[0].code == "request_cancelled"


async def test_the_innermost_scope_tells_it(board):
    """A stream that has begun has no other place for it."""
    task, activity, outcome = await started(board, inner=True)
    assert activity.cancel()
    await task
    assert outcome == ["told inside"]


async def test_a_client_that_leaves_stays_cancelled(board):
    """Nobody is there to be told."""
    task, _, outcome = await started(board)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcome == ["left"]
    assert board.history(owner=None)[0].status == 499


@pytest.mark.parametrize("inner", [False, True])
async def test_both_in_the_same_instant_is_a_leaving(board, inner):
    """Or the end of the server would be held up."""
    task, activity, outcome = await started(board, inner=inner)
    assert activity.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcome == ["left"]


async def test_outside_of_its_scopes_nothing_is_cancelled(board):
    """What has ended, or is about to, stays as it is."""
    with board.note(ANNS) as activity:
        with activity.last_cancellable():
            assert activity.is_cancellable
        assert not activity.is_cancellable
        assert not activity.cancel()
    assert not activity.cancel()
