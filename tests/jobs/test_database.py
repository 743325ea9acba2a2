"""One SQLite file: what its errors mean, what survives them, what it was in older versions."""

import asyncio
import sqlite3

import pytest

from support.job_samples import TRANSCRIPT, make_job
from whisper_router.errors import ConfigurationError, StorageFull
from whisper_router.jobs.database import open_database
from whisper_router.jobs.errors import StoreUnavailable
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.schema import SCHEMA, VERSION
from whisper_router.jobs.sqlite import open_store

NEW_COLUMNS = (
    "failures",
    "not_before_s",
    "percent",
    "keep_alive_s",
    "fingerprint",
    "is_elsewhere",
)


async def fill(database) -> None:
    """Leave no room for another page."""
    pages = await database.one("PRAGMA page_count")
    await database.write(f"PRAGMA max_page_count = {pages}")


async def test_no_room_is_said_and_passes(tmp_path):
    """What was to be written together is not there; with room it is."""
    async with open_store(tmp_path / "jobs.db") as store:
        await store.add(make_job("one"))
        await fill(store._database)
        with pytest.raises(StorageFull):
            for number in range(1000):
                await store.add(make_job(f"job_{number}", options={"long": "x" * 5000}))
        with pytest.raises(StorageFull):
            await store.record(make_job("big", options={"long": "x" * 50_000}), TRANSCRIPT, None)
        assert await store.find("big") is None
        await store._database.write("PRAGMA max_page_count = 100000")
        await store.record(make_job("big"), TRANSCRIPT, None)
        assert await store.transcript("big") == TRANSCRIPT


async def test_a_file_that_others_hold_is_unavailable(tmp_path):
    """For as long as they do."""
    path = tmp_path / "jobs.db"
    async with open_store(path) as store:
        await store._database.write("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
            await store.requeue()
        other.execute("ROLLBACK")
        other.close()
        assert await store.requeue() == 0


async def test_a_bug_stays_one(tmp_path):
    """It is no passing trouble."""
    async with open_database(tmp_path / "jobs.db") as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.read("SELECT * FROM absent")


async def test_a_damaged_file_is_told_at_the_start(tmp_path):
    """As what it is: the server says so and goes on, or ends, without a traceback."""
    path = tmp_path / "jobs.db"
    async with open_store(path) as store:
        for number in range(200):
            await store.add(make_job(f"job_{number}"))
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 12 * 4096] = b"\x5a" * (9 * 4096)
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"damaged|cannot be used"):
        async with open_store(path):
            pass


async def test_a_file_of_the_first_version_becomes_one_of_this(tmp_path):
    """Its jobs are there; those whose audio is elsewhere wait for that."""
    path = tmp_path / "jobs.db"
    old = sqlite3.connect(path)
    lines = [line for line in SCHEMA.splitlines() if "jobs_to_fetch" not in line]
    kept = [line for line in lines if line.strip().split(" ")[0] not in NEW_COLUMNS]
    text = "\n".join(kept).replace("DEFAULT 0,\n);", "DEFAULT 0\n);")
    old.executescript(text + "PRAGMA user_version = 1;")
    audio = '{"path": null, "url": "http://a/", "name": "", "pcm": null}'
    for name, status, where in (
        ("here", "queued", audio.replace("null", '"/a.wav"', 1)),
        ("there", "queued", audio),
        ("done", "completed", audio),
        ("odd", "queued", "{"),
    ):
        old.execute(
            "INSERT INTO jobs (id, owner, status, request, audio, options, created_s) "
            "VALUES (?, 'laptop', ?, '{\"model\": \"demo\"}', ?, '{}', 1.0)",
            (name, status, where),
        )
    old.commit()
    old.close()
    async with open_store(path) as store:
        assert await store._database.one("PRAGMA user_version") == VERSION
        assert (await store.take(now_s=1.0)).id == "here"
        fetched = await store.next_to_fetch(now_s=1.0, but_jobs=[], but_owners=[])
        assert fetched.id == "there"
        assert await store.next_to_fetch(now_s=1.0, but_jobs=["there"], but_owners=[]) is None
        assert (await store.find("done")).percent == 100.0
        assert (await store.find("odd")).status is JobStatus.FAILED
    async with open_store(path) as store:
        assert len(await store.page(owner="laptop", limit=9)) == 4


async def test_what_is_being_written_is_whole_before_the_file_is_closed(tmp_path):
    """Although nobody waits for it any more."""
    path = tmp_path / "jobs.db"
    async with open_store(path) as store:
        await store.add(make_job("one"))
        ending = asyncio.get_running_loop().create_task(
            store.finish("one", JobStatus.COMPLETED, now_s=1.0, transcript=TRANSCRIPT)
        )
        while not store._database._writing.locked():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        ending.cancel()
    async with open_store(path) as store:
        assert await store.transcript("one") == TRANSCRIPT
