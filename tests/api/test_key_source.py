"""Where the ring of keys comes from."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from support.processes import begun
from whisper_router.api import key_source
from whisper_router.api.key_file import save_keys
from whisper_router.api.key_source import FixedKeys, KeyFile
from whisper_router.api.keys import Key, hash_key
from whisper_router.errors import ConfigurationError


def key(name: str) -> Key:
    return Key(name=name, hash=hash_key(name))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one key."""
    path = tmp_path / "keys.toml"
    save_keys(path, [key("first")])
    return path


async def test_no_plain_key_means_that_nobody_needs_one():
    """The server then listens on loopback only, which is not decided here."""
    assert not (await FixedKeys([]).ring()).required
    assert (await FixedKeys(["k"]).ring()).required


async def test_a_changed_file_is_read_again(path: Path):
    """`keys new` and `keys revoke` work on a running server; plain keys stay."""
    source = await asyncio.to_thread(KeyFile, path, plain=["plain"], recheck_s=0)
    assert (await source.ring()).identify("first") is not None
    await asyncio.to_thread(save_keys, path, [key("second")])
    ring = await source.ring()
    assert ring.identify("first") is None
    assert ring.identify("second") is not None
    assert ring.identify("plain") is not None


async def test_all_who_come_at_once_get_the_keys_that_are_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After a quiet hour a revoked key is not accepted from those who come beside the first."""
    source = await asyncio.to_thread(KeyFile, path, recheck_s=60)
    await asyncio.to_thread(save_keys, path, [key("second")])
    an_hour_later_s = time.monotonic() + 3600
    clock = SimpleNamespace(monotonic=lambda: an_hour_later_s)
    monkeypatch.setattr(key_source, "time", clock)
    first = begun(source.ring())
    await asyncio.sleep(0)  # it has begun to look, and its client leaves
    others = [begun(source.ring()) for _ in range(3)]
    first.cancel()
    for ring in await asyncio.gather(*others):
        assert ring.identify("first") is None
        assert ring.identify("second") is not None


async def test_the_file_is_not_looked_at_more_often_than_asked(path: Path):
    """A request costs no system call on the file within the interval."""
    source = await asyncio.to_thread(KeyFile, path, recheck_s=3600)
    await asyncio.to_thread(save_keys, path, [])
    assert (await source.ring()).identify("first") is not None


@pytest.mark.parametrize("damage", ["unlink", "spoil"])
async def test_a_damaged_file_leaves_the_last_keys_in_force(path: Path, damage: str):
    """A slip of the editor neither opens the server nor locks everybody out; the log says it."""
    source = await asyncio.to_thread(KeyFile, path, recheck_s=0)
    if damage == "unlink":
        await asyncio.to_thread(path.unlink)
    else:
        await asyncio.to_thread(path.write_text, "[keys.first")
    with capture_logs() as logs:
        for _ in range(3):
            ring = await source.ring()
    assert ring.required
    assert ring.identify("first") is not None
    assert [entry["event"] for entry in logs] == ["key_file_rejected"]


async def test_what_was_rejected_is_tried_again_although_it_looks_the_same(path: Path):
    """As a file that we were not allowed to read, and may read now."""
    source = await asyncio.to_thread(KeyFile, path, recheck_s=0)

    def spoil() -> os.stat_result:
        path.write_bytes(bytes(path.stat().st_size))
        return path.stat()

    def mend(spoilt: os.stat_result) -> None:
        spare = path.with_name("spare.toml")
        save_keys(spare, [key("other")])  # a name as long as the first one's
        path.write_bytes(spare.read_bytes())
        os.utime(path, ns=(spoilt.st_atime_ns, spoilt.st_mtime_ns))
        assert path.stat().st_size == spoilt.st_size

    spoilt = await asyncio.to_thread(spoil)
    assert (await source.ring()).identify("first") is not None
    assert source.rejected is not None
    await asyncio.to_thread(mend, spoilt)
    assert (await source.ring()).identify("other") is not None
    assert source.rejected is None


async def test_a_file_without_keys_still_requires_one(path: Path):
    """Revoking the last key closes the server."""
    source = await asyncio.to_thread(KeyFile, path, recheck_s=0)
    await asyncio.to_thread(save_keys, path, [])
    assert (await source.ring()).required


def test_an_absent_file_ends_the_start(tmp_path: Path):
    """Better no server than one that accepts nobody for no visible reason."""
    with pytest.raises(ConfigurationError):
        KeyFile(tmp_path / "keys.toml")
