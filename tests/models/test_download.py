"""The numbers that a waiter sees."""

from whisper_router.models.download import DownloadProgress


def test_percent_and_remaining_time_follow_from_the_bytes() -> None:
    """Rounded down: 100 % means that all is there."""
    progress = DownloadProgress(done_bytes=999, total_bytes=1000, bytes_per_s=2.0, waiting=False)
    assert progress.percent == 99
    assert progress.remaining_s == 0.5


def test_nothing_is_made_up_while_the_size_or_the_speed_is_unknown() -> None:
    """None, and never a division by zero."""
    unknown = DownloadProgress(done_bytes=5, total_bytes=None, bytes_per_s=1.0, waiting=True)
    assert (unknown.percent, unknown.remaining_s) == (None, None)
    empty = DownloadProgress(done_bytes=0, total_bytes=0, bytes_per_s=0.0, waiting=False)
    assert (empty.percent, empty.remaining_s) == (None, None)
