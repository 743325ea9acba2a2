"""The SQLite file: what survives, what is refused, what it costs."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from support.job_samples import EVENTS, TRANSCRIPT, make_job
from whisper_router.errors import ConfigurationError
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.sqlite import open_store

WRITER = """
import asyncio, sys
from pathlib import Path
from support.job_samples import EVENTS, make_job
from whisper_router.jobs.sqlite import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in range(10_000):
            await store.add(make_job(f"job_{number}"))
            await store.take(now_s=1.0)
            await store.keep_chunk(f"job_{number}", 0, 1, EVENTS)
            print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_answered_is_there_after_a_kill(tmp_path):
    """Every job that was added, and every chunk that was kept."""
    path = tmp_path / "state" / "jobs.db"
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WRITER,
        str(path),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "tests"},
    )
    for _ in range(20):
        line = await writer.stdout.readline()
    last = int(line)
    writer.send_signal(signal.SIGKILL)
    await writer.wait()
    async with open_store(path) as store:
        await store.requeue()
        for number in range(last + 1):
            assert (await store.find(f"job_{number}")).status is JobStatus.QUEUED
            assert list((await store.chunks(f"job_{number}"))[0, 1]) == list(EVENTS)


async def test_the_file_is_its_owners_alone(tmp_path):
    """It holds what people have said."""
    path = tmp_path / "state" / "jobs.db"
    async with open_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_is_no_store_of_ours_is_refused(tmp_path):
    """Another file, a directory, a newer version."""
    path = tmp_path / "jobs.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        async with open_store(path):
            pass
    with pytest.raises(ConfigurationError, match="cannot be used"):
        async with open_store(tmp_path):
            pass
    newer = tmp_path / "newer.db"
    async with open_store(newer) as store:
        await store._database.write("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="version 99"):
        async with open_store(newer):
            pass


async def test_an_end_that_nobody_waits_for_any_more_is_whole(tmp_path):
    """Its transcript is there, or it did not end."""
    async with open_store(tmp_path / "jobs.db") as store:
        for number in range(30):
            job_id = f"job_{number}"
            await store.add(make_job(job_id))
            ending = asyncio.get_running_loop().create_task(
                store.finish(job_id, JobStatus.COMPLETED, now_s=1.0, transcript=TRANSCRIPT)
            )
            for _ in range(number):
                await asyncio.sleep(0)
            ending.cancel()
            await asyncio.wait([ending])
            await store.add(make_job(f"after_{number}"))
            job = await store.find(job_id)
            has_text = await store.transcript(job_id) is not None
            assert has_text == (job.status is JobStatus.COMPLETED)


async def test_what_was_erased_is_not_in_the_file(tmp_path):
    """Deleted pages are overwritten, and the log is emptied at the end."""
    path = tmp_path / "jobs.db"
    async with open_store(path) as store:
        await store.add(make_job("job_1"))
        await store.finish("job_1", JobStatus.COMPLETED, now_s=1.0, transcript=TRANSCRIPT)
        await store.delete("job_1")
    assert json.dumps(" één", ensure_ascii=False).encode() not in path.read_bytes()
    assert "één".encode() not in path.read_bytes()


@pytest.mark.alone
async def test_a_thousand_queued_jobs_are_listed_quickly(tmp_path):
    """And take little room."""
    path = tmp_path / "jobs.db"
    async with open_store(path) as store:
        for number in range(1000):
            await store.add(make_job(f"job_{number}"))
        took_s = []
        for _ in range(20):
            began_s = time.process_time()
            assert len(await store.page(owner="laptop", limit=100)) == 100
            took_s.append(time.process_time() - began_s)
        assert sorted(took_s)[18] < 0.05
    assert path.stat().st_size < 20 << 20
