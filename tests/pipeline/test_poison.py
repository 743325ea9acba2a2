"""Audio that crashed engines is remembered by its samples, for a while."""

import asyncio
import tracemalloc

import pytest

from whisper_router.domain import Chunk
from whisper_router.pipeline.poison import REMEMBERED_S, Poison

ALIAS = "any"


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
    assert not await poison.holds(ALIAS, chunks["evil"])
    await poison.add(ALIAS, chunks["evil"])
    assert await poison.holds(ALIAS, chunks["the same elsewhere"])
    assert not await poison.holds(ALIAS, chunks["good"])


async def test_it_is_forgotten_after_a_while(chunks):
    """The engine may have been updated since."""
    now_s = 0.0
    poison = Poison(clock=lambda: now_s)
    await poison.add(ALIAS, chunks["evil"])
    now_s = REMEMBERED_S - 1
    assert await poison.holds(ALIAS, chunks["evil"])
    now_s = REMEMBERED_S + 1
    assert not await poison.holds(ALIAS, chunks["evil"])


async def test_nothing_is_lost_while_others_ask(chunks):
    """Hashing takes a while, in which requests for other chunks come by."""
    poison = Poison()
    await poison.add(ALIAS, chunks["good"])
    async with asyncio.timeout(15):
        await asyncio.gather(poison.add(ALIAS, chunks["evil"]), poison.holds(ALIAS, chunks["good"]))
        assert await poison.holds(ALIAS, chunks["evil"])


async def test_what_one_model_cannot_do_another_is_asked(chunks):
    """A large model overruns its time on audio that a small one hears at once."""
    poison = Poison()
    await poison.add("large", chunks["evil"])
    assert not await poison.holds("small", chunks["evil"])


async def test_a_whole_file_is_never_read_at_once(tmp_path):
    """Without a search for speech a chunk may last for hours."""
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    poison, chunk = Poison(), Chunk(path=path, start=0, end=16 << 20)
    tracemalloc.start()
    try:
        await poison.add(ALIAS, chunk)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20
