"""Audio that crashed engines is remembered by its samples, for a while."""

import pytest

from whisper_router.domain import Chunk
from whisper_router.pipeline.poison import REMEMBERED_S, Poison


@pytest.fixture
def chunks(tmp_path):
    """The same samples in two files, and others."""
    (tmp_path / "a").write_bytes(b"good" + b"evil" * 10)
    (tmp_path / "b").write_bytes(b"evil" * 10)
    return {
        "evil": Chunk(path=tmp_path / "a", start=1, end=11),
        "the same elsewhere": Chunk(path=tmp_path / "b", start=0, end=10),
        "good": Chunk(path=tmp_path / "a", start=0, end=1),
    }


async def test_the_same_samples_are_recognised_wherever_they_are(chunks):
    """Another upload of the same file is another file on the disk."""
    poison = Poison()
    assert not await poison.holds(chunks["evil"])
    await poison.add(chunks["evil"])
    assert await poison.holds(chunks["the same elsewhere"])
    assert not await poison.holds(chunks["good"])


async def test_it_is_forgotten_after_a_while(chunks):
    """The engine may have been updated since."""
    now_s = 0.0
    poison = Poison(clock=lambda: now_s)
    await poison.add(chunks["evil"])
    now_s = REMEMBERED_S - 1
    assert await poison.holds(chunks["evil"])
    now_s = REMEMBERED_S + 1
    assert not await poison.holds(chunks["evil"])
