"""The store: who starts a download, who waits for it, and what a request is told meanwhile."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from support import fetch_once
from support.hub import Fault, Hub
from support.processes import children
from whisper_router.errors import ModelUnavailable, RouterError, ShuttingDown, StorageFull
from whisper_router.models.download import WORKER_ARGV, DownloadProgress
from whisper_router.models.file_lock import lock_file, try_lock
from whisper_router.models.layout import lock_of, parts_of
from whisper_router.models.source import HubFile, LocalFile, ModelSpec, UrlFile
from whisper_router.models.store import InstalledFile, ModelStore
from whisper_router.tasks import Tasks

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
NAME = "owner/repo/ggml-x.bin"
SOURCE = HubFile(repo="owner/repo", file="ggml-x.bin", size_bytes=len(CONTENT))
SPEC = ModelSpec(alias="x", engine="any", source=SOURCE)

MakeStore = Callable[..., ModelStore]


async def reach(store: ModelStore, done_bytes: int) -> None:
    """Return when the download of `SOURCE` has come that far."""
    reached = asyncio.Event()

    def look(progress: DownloadProgress) -> None:
        if progress.done_bytes >= done_bytes:
            reached.set()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        watching = group.create_task(store.fetch(SOURCE, on_progress=look))
        await reached.wait()
        watching.cancel()


async def fetch_error(store: ModelStore, joined: asyncio.Event) -> RouterError:
    """Join the download of `SOURCE`, say so, and return what it fails of."""
    with pytest.raises(RouterError) as caught:
        await store.fetch(SOURCE, on_progress=lambda _: joined.set())
    return caught.value


async def run_fetch_once(directory: Path, hub: Hub) -> asyncio.subprocess.Process:
    """Start another program that wants the same file."""
    argv = [sys.executable, fetch_once.__file__, str(directory), hub.url, "owner/repo", SOURCE.file]
    return await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)


async def read_until(process: asyncio.subprocess.Process, line: str) -> None:
    """Read what `process` prints up to `line`."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while (await process.stdout.readline()).decode().strip() != line:
            assert not process.stdout.at_eof()


async def test_callers_of_one_file_share_one_download(hub: Hub, make_store: MakeStore) -> None:
    """Five at once: one download, one answer."""
    hub.add(NAME, CONTENT)
    store = make_store()
    paths = await asyncio.gather(*(store.fetch(SOURCE) for _ in range(5)))
    assert hub.starts(NAME) == [0]
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert store.progress(SOURCE) is None


async def test_a_file_that_is_there_needs_no_hub(hub: Hub, make_store: MakeStore) -> None:
    """Put by hand at the documented place, it is used at once, offline too."""
    store = make_store(offline=True)
    path = store.directory / "owner--repo" / "ggml-x.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert await store.ensure(SPEC) == path
    assert await store.fetch(SOURCE) == path
    assert hub.tokens == []


async def test_a_file_of_the_wrong_size_is_replaced(hub: Hub, make_store: MakeStore) -> None:
    """Half a copy made by hand is not taken for the model."""
    hub.add(NAME, CONTENT)
    store = make_store()
    path = store.path(SOURCE)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100])
    assert store.present(SOURCE) is None
    assert (await store.fetch(SOURCE)).read_bytes() == CONTENT


async def test_a_caller_that_leaves_does_not_stop_the_download(
    hub: Hub, make_store: MakeStore
) -> None:
    """The only waiter goes; whoever comes later finds the download further on."""
    hub.add(NAME, CONTENT)
    gate = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=HALF, hold=gate))
    store = make_store()
    await reach(store, HALF)
    progress = store.progress(SOURCE)
    assert progress is not None
    assert (progress.done_bytes, progress.percent) == (HALF, 50)
    gate.set()
    assert (await store.fetch(SOURCE)).read_bytes() == CONTENT
    assert hub.starts(NAME) == [0]


async def test_other_downloads_are_not_disturbed(hub: Hub, make_store: MakeStore) -> None:
    """One hangs half-way; another begins and ends meanwhile."""
    hub.add(NAME, CONTENT)
    hub.add("owner/repo/ggml-y.bin", CONTENT)
    gate = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=HALF, hold=gate))
    store = make_store()
    await reach(store, HALF)
    await store.fetch(HubFile(repo="owner/repo", file="ggml-y.bin"))
    assert store.present(SOURCE) is None
    gate.set()
    assert await store.fetch(SOURCE) == store.present(SOURCE)


async def test_a_request_that_may_not_wait_is_told_how_far_it_is(
    hub: Hub, make_store: MakeStore
) -> None:
    """503 with percentage and Retry-After while the download runs; then the path."""
    hub.add(NAME, CONTENT)
    gate = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=HALF, hold=gate))
    store = make_store(wait_s=0)
    with pytest.raises(ModelUnavailable, match="'x' is being downloaded"):
        await store.ensure(SPEC)
    await reach(store, HALF)
    with pytest.raises(ModelUnavailable, match=r"\(50 % done\)") as caught:
        await store.ensure(SPEC)
    assert caught.value.status == 503
    assert 1 <= (caught.value.retry_after_s or 0) <= 30
    gate.set()
    path = await store.fetch(SOURCE)
    assert await store.ensure(SPEC) == path
    assert hub.starts(NAME) == [0]


async def test_a_request_waits_no_longer_than_it_may(hub: Hub, make_store: MakeStore) -> None:
    """`wait_s` ends the wait and not the download."""
    hub.add(NAME, CONTENT)
    gate = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=HALF, hold=gate))
    store = make_store(wait_s=0.05)
    with pytest.raises(ModelUnavailable, match="is being downloaded"):
        await store.ensure(SPEC)
    gate.set()
    assert await store.fetch(SOURCE) == store.path(SOURCE)


async def test_a_request_gets_the_model_when_it_may_wait(hub: Hub, make_store: MakeStore) -> None:
    """The first request for an absent model."""
    hub.add(NAME, CONTENT)
    assert (await make_store().ensure(SPEC)).read_bytes() == CONTENT


async def test_without_downloads_on_request_the_message_says_what_to_do(
    hub: Hub, make_store: MakeStore
) -> None:
    """The command, or which file goes where."""
    store = make_store(auto_download=False)
    with pytest.raises(ModelUnavailable, match="`whisper-router models pull x`") as caught:
        await store.ensure(SPEC)
    assert str(store.path(SOURCE)) in str(caught.value)
    assert f"{hub.url}/owner/repo/resolve/main/ggml-x.bin" in str(caught.value)
    assert hub.tokens == []


async def test_without_downloads_a_file_of_the_wrong_size_is_named(make_store: MakeStore) -> None:
    """'It is there!' deserves an answer."""
    store = make_store(auto_download=False)
    store.path(SOURCE).parent.mkdir(parents=True)
    store.path(SOURCE).write_bytes(b"too short")
    with pytest.raises(ModelUnavailable, match="has 9 bytes instead of 1048576"):
        await store.ensure(SPEC)


async def test_offline_says_which_file_goes_where(hub: Hub, make_store: MakeStore) -> None:
    """No network is touched."""
    store = make_store(offline=True)
    with pytest.raises(ModelUnavailable, match="offline") as caught:
        await store.ensure(SPEC)
    assert str(store.path(SOURCE)) in str(caught.value)
    assert f"{hub.url}/owner/repo/resolve/main/ggml-x.bin" in str(caught.value)
    assert hub.tokens == []


async def test_a_failure_is_not_repeated_before_its_time_but_a_pull_may(
    hub: Hub, make_store: MakeStore
) -> None:
    """Requests in the meantime get the same answer without a question to the hub."""
    hub.refuse(NAME, 429, Retry_After="600")
    store = make_store()
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="429") as caught:
            await store.ensure(SPEC)
        assert 590 <= (caught.value.retry_after_s or 0) <= 600
    assert len(hub.tokens) == 1
    del hub.refusals[NAME]
    hub.add(NAME, CONTENT)
    await store.fetch(SOURCE)
    assert (await store.ensure(SPEC)).read_bytes() == CONTENT


async def test_a_file_size_limit_is_reported_as_a_full_disk(
    hub: Hub, make_store: MakeStore
) -> None:
    """The download program may write 512 KiB at most: the write fails half-way, for real."""
    hub.add(NAME, CONTENT)
    limited = ("bash", "-c", 'ulimit -f 512; exec "$@"', "bash", *WORKER_ARGV)
    store = make_store(worker_argv=limited)
    with pytest.raises(StorageFull, match="no room for the model") as caught:
        await store.fetch(SOURCE)
    assert (caught.value.status, caught.value.code) == (503, "storage_full")
    assert parts_of(store.path(SOURCE)) == []


async def test_two_programs_fetch_a_file_once(hub: Hub, make_store: MakeStore) -> None:
    """The second waits for the first, by the file's lock, and both get it."""
    hub.add(NAME, CONTENT)
    gate = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=HALF, hold=gate))
    directory = make_store().directory
    first = await run_fetch_once(directory, hub)
    await read_until(first, str(HALF))
    second = await run_fetch_once(directory, hub)
    await read_until(second, "waiting")
    gate.set()
    path = str(make_store().path(SOURCE))
    await read_until(first, path)
    await read_until(second, path)
    assert [await first.wait(), await second.wait()] == [0, 0]
    assert hub.starts(NAME) == [0]


async def test_a_router_killed_half_way_leaves_no_worker_and_the_next_resumes(
    hub: Hub, make_store: MakeStore
) -> None:
    """SIGKILL: the download program goes too, the lock is free, the bytes are used."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(after_bytes=HALF, stall=True))
    store = make_store()
    router = await run_fetch_once(store.directory, hub)
    await read_until(router, str(HALF))
    workers = psutil.Process(router.pid).children()
    router.kill()
    await router.communicate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=20)
    assert len(workers) == 1
    assert alive == []
    assert (await store.fetch(SOURCE)).read_bytes() == CONTENT
    assert hub.starts(NAME) == [0, HALF]


async def test_why_a_download_was_interrupted_is_in_the_log(
    hub: Hub, make_store: MakeStore
) -> None:
    """Although it is tried again and comes to its end."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].extend([Fault(after_bytes=HALF, cut=True), Fault(status=503)])
    with capture_logs() as logs:
        await make_store().fetch(SOURCE)
    told = [line for line in logs if line["event"] == "model_download_interrupted"]
    assert [line["done_bytes"] for line in told] == [HALF, HALF]
    assert "503" in told[1]["reason"]
    assert told[0]["reason"] != told[1]["reason"]
    assert [line["event"] for line in logs][-1] == "model_download_finished"


async def test_a_killed_download_program_is_reported_and_the_next_resumes(
    hub: Hub, make_store: MakeStore
) -> None:
    """The out-of-memory killer, say."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(after_bytes=HALF, stall=True))
    store, before = make_store(), children()
    await reach(store, HALF)
    joined = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiter = group.create_task(fetch_error(store, joined))
        await joined.wait()
        (worker,) = children() - before
        os.kill(worker, signal.SIGKILL)
    assert isinstance(waiter.result(), ModelUnavailable)
    assert "ended by SIGKILL" in str(waiter.result())
    assert (await store.fetch(SOURCE)).read_bytes() == CONTENT
    assert hub.starts(NAME) == [0, HALF]


async def test_a_download_program_that_cannot_start_is_reported(make_store: MakeStore) -> None:
    """With what it said, if it said something."""
    with pytest.raises(ModelUnavailable, match="cannot be started"):
        await make_store(worker_argv=("/no/such/program",)).fetch(SOURCE)
    argv = ("sh", "-c", "echo no such module >&2; exit 3")
    with pytest.raises(ModelUnavailable, match=r"with status 3 .*no such module"):
        await make_store(worker_argv=argv).fetch(SOURCE)


async def test_closing_ends_the_download_and_tells_the_waiters(
    hub: Hub, make_store: MakeStore, tasks: Tasks
) -> None:
    """The router stops: no worker stays behind, what was fetched does."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(after_bytes=HALF, stall=True))
    store, before = make_store(), children()
    await reach(store, HALF)

    joined = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiter = group.create_task(fetch_error(store, joined))
        await joined.wait()
        await tasks.close()
    assert isinstance(waiter.result(), ShuttingDown)
    assert children() - before == set()
    assert sum(path.stat().st_size for path in parts_of(store.path(SOURCE))) == HALF


async def test_a_local_file_is_used_where_it_lies(make_store: MakeStore, tmp_path: Path) -> None:
    """And its absence is said plainly; the store never deletes it."""
    source = LocalFile(path=tmp_path / "mine.bin")
    store = make_store()
    spec = replace(SPEC, source=source)
    with pytest.raises(ModelUnavailable, match=r"mine\.bin does not exist"):
        await store.ensure(spec)
    with pytest.raises(ModelUnavailable, match=r"mine\.bin does not exist"):
        await store.fetch(source)
    source.path.write_bytes(b"weights")
    assert await store.ensure(spec) == source.path
    with pytest.raises(ModelUnavailable, match="not a file of the store"):
        await store.remove(source)
    assert source.path.exists()


async def test_remove_frees_the_file_and_what_was_begun(make_store: MakeStore) -> None:
    """It says how many bytes that were; a second time it is nothing."""
    store = make_store()
    path = store.path(SOURCE)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
    path.with_name("ggml-x.bin.abc.part").write_bytes(b"123")
    path.with_name("ggml-x.bin.txt").write_bytes(b"mine")
    assert await store.remove(SOURCE) == 8
    assert await store.remove(SOURCE) == 0
    assert [left.name for left in path.parent.iterdir()] == ["ggml-x.bin.txt"]


async def test_remove_leaves_a_file_alone_that_another_program_fetches(
    make_store: MakeStore,
) -> None:
    """The lock says so."""
    store = make_store()
    with lock_file(lock_of(store.path(SOURCE), store.directory)) as fd:
        assert try_lock(fd)
        with pytest.raises(ModelUnavailable, match="being fetched just now"):
            await store.remove(SOURCE)


async def test_installed_lists_complete_files_only(make_store: MakeStore) -> None:
    """Locks and incomplete files are not models."""
    store = make_store()
    assert store.installed() == []
    path = store.path(UrlFile(url="https://example.org/a/ggml-z.bin?x=1"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
    path.with_name("ggml-z.bin.part").write_bytes(b"1")
    with lock_file(lock_of(path, store.directory)):
        pass
    assert store.installed() == [InstalledFile(path=path, size_bytes=5)]


async def test_the_hub_library_s_own_variables_are_honoured(
    hub: Hub, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE, where the configuration says nothing."""
    hub.add(NAME, CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="offline"):
        await make_store(endpoint=None).fetch(SOURCE)
    assert hub.tokens == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    await make_store(endpoint=None).fetch(SOURCE)
    assert set(hub.tokens) == {"Bearer hf_from_the_environment"}
