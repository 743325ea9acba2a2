"""How long a running job will take."""

from whisper_router.jobs.pace import Pace
from whisper_router.pipeline.progress import Tracker


def test_nothing_is_said_before_anything_is_known():
    """Not before work has begun, nor before enough of it is done."""
    tracker, now = Tracker("laptop"), [0.0]
    pace = Pace(tracker, clock=lambda: now[0])
    assert pace.left_s is None
    pace.begin()
    now[0] = 10.0
    assert pace.left_s is None
    tracker.update(speech_s=1000.0, left_s=0.0, done_s=5.0)
    assert pace.left_s is None


def test_what_was_done_before_took_no_time():
    """Half of it was remembered; a quarter took 10 s, so the last one does, too."""
    tracker, now = Tracker("laptop"), [100.0]
    pace = Pace(tracker, clock=lambda: now[0])
    tracker.update(speech_s=100.0, left_s=0.0, done_s=50.0)
    pace.begin()
    now[0] = 110.0
    pace.begin()
    tracker.update(done_s=75.0)
    assert pace.left_s == 10.0
