"""Whether the model file of a process is still the one that it has loaded."""

import asyncio
import os
from pathlib import Path

import pytest

from support.processes import begun
from whisper_router.supervisor.weights import Weights, fingerprint


@pytest.fixture
def path(tmp_path) -> Path:
    """A model file."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    return path


async def loaded(path: Path) -> Weights:
    weights = Weights(settle_s=0.05)
    await weights.note(path)
    return weights


async def test_a_file_that_nobody_touched_is_the_same(path):
    """And before anything is loaded there is nothing to look at."""
    weights = await loaded(path)
    for each in (weights, Weights()):
        await each.look()
        assert (each.is_replaced, each.is_gone, await each.are_there()) == (False, False, True)


async def test_a_file_of_the_same_size_and_time_that_took_its_place_is_noticed(path, tmp_path):
    """By its inode: `mv` of a prepared file, as a download ends."""
    weights, before = await loaded(path), path.stat()
    other = tmp_path / "other.bin"
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    await weights.look()
    assert weights.is_replaced
    await weights.note(path)
    assert not weights.is_replaced


async def test_a_file_that_is_gone_was_not_replaced(path):
    """What is loaded serves on; the file may come back."""
    weights, content = await loaded(path), path.read_bytes()
    path.unlink()
    await weights.look()
    assert (weights.is_replaced, weights.is_gone) == (False, True)
    assert not await weights.are_there()
    path.write_bytes(content * 2)
    assert await weights.are_there()
    await weights.look()
    assert (weights.is_replaced, weights.is_gone) == (True, False)


async def test_a_file_that_is_being_written_is_waited_for(path, monkeypatch):
    """A process that is started from one half of a model fails."""
    weights, left = await loaded(path), list(range(5))

    def between_two_looks(path: Path):
        assert not weights.is_replaced
        if left:
            path.write_bytes(b"half" * (len(left) + 1))
            left.pop()
        return fingerprint(path)

    monkeypatch.setattr("whisper_router.supervisor.weights.fingerprint", between_two_looks)
    async with asyncio.timeout(15):
        await weights.look()
    assert left == []
    assert weights.is_replaced


async def test_what_is_loaded_meanwhile_counts(path):
    """A look that began before tells nothing about the file that was loaded since."""
    weights = await loaded(path)
    path.write_bytes(b"other weights")
    looking = begun(weights.look())
    await asyncio.wait({looking}, timeout=0.01)
    await weights.note(path)
    await looking
    assert not weights.is_replaced
