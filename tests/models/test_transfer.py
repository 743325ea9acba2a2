"""Fetching one file from a local hub: every way in which that can go wrong."""

import asyncio
import fcntl
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.hub import COMMIT, Fault, Hub
from whisper_router.errors import ModelUnavailable, StorageFull
from whisper_router.models.fetch_job import Done, FetchJob, FetchLimits, Progress
from whisper_router.models.file_lock import lock_file, try_lock
from whisper_router.models.layout import lock_of, part_of, parts_of, path_of
from whisper_router.models.source import HubFile, RemoteFile, UrlFile
from whisper_router.models.transfer import MISMATCH_RETRY_S, fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
NAME = "owner/repo/ggml-x.bin"
SOURCE = HubFile(repo="owner/repo", file="ggml-x.bin")
LIMITS = FetchLimits(stall_s=5.0, attempts=3, backoff_s=0.01)

MakeJob = Callable[..., FetchJob]


@pytest.fixture
def make_job(hub: Hub, directory: Path) -> MakeJob:
    """Return a function that makes a job for the hub."""

    def make(source: RemoteFile = SOURCE, limits: FetchLimits = LIMITS, **rest: str) -> FetchJob:
        target = path_of(source, directory)
        lock = lock_of(target, directory)
        fields = {"endpoint": hub.url} | rest
        return FetchJob(source=source, target=target, lock=lock, limits=limits, **fields)

    return make


def ignore(progress: Progress) -> None:
    """Take no notice of progress."""


async def test_a_file_is_fetched_verified_and_put_in_its_place(hub: Hub, make_job: MakeJob) -> None:
    """The hub's checksum is compared, progress reaches the end, nothing else is left behind."""
    hub.add(NAME, CONTENT)
    seen: list[Progress] = []
    done = await fetch(make_job(), seen.append)
    assert done == Done(fetched_bytes=len(CONTENT), verified=True)
    assert make_job().target.read_bytes() == CONTENT
    assert seen[-1] == Progress(done_bytes=len(CONTENT), total_bytes=len(CONTENT))
    assert [path.name for path in make_job().target.parent.iterdir()] == ["ggml-x.bin"]


async def test_the_token_goes_to_the_hub_and_not_to_its_cdn(hub: Hub, make_job: MakeJob) -> None:
    """The redirect leads to another origin, which must not learn the token."""
    hub.add(NAME, CONTENT)
    await fetch(make_job(token="hf_secret"), ignore)
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert [served.authorized for served in hub.served] == [False]


async def test_a_cut_connection_is_resumed_where_it_ended(hub: Hub, make_job: MakeJob) -> None:
    """The second request asks only for what is missing, and the whole is verified."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(after_bytes=HALF, cut=True))
    done = await fetch(make_job(), ignore)
    assert hub.starts(NAME) == [0, HALF]
    assert done == Done(fetched_bytes=HALF, verified=True)
    assert make_job().target.read_bytes() == CONTENT


async def test_many_cuts_are_no_reason_to_give_up_while_bytes_come(
    hub: Hub, make_job: MakeJob
) -> None:
    """Only attempts in a row without a byte count against the limit of three."""
    hub.add(NAME, CONTENT)
    step = len(CONTENT) // 8
    hub.faults[NAME].extend([Fault(after_bytes=step, cut=True)] * 7)
    await fetch(make_job(), ignore)
    assert hub.starts(NAME) == [step * count for count in range(8)]


async def test_a_server_that_sends_nothing_is_given_up_with_advice(
    hub: Hub, make_job: MakeJob
) -> None:
    """After the attempts the message names the file and where it can be put by hand."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].extend([Fault(cut=True)] * 3)
    with pytest.raises(ModelUnavailable, match="could not be fetched") as caught:
        await fetch(make_job(), ignore)
    assert str(make_job().target) in str(caught.value)
    assert len(hub.served) == 3


async def test_a_server_that_ignores_ranges_makes_the_download_begin_anew(
    hub: Hub, make_job: MakeJob
) -> None:
    """A 200 to a range request replaces what was there, instead of being appended."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].extend([Fault(after_bytes=HALF, cut=True), Fault(whole=True)])
    await fetch(make_job(), ignore)
    assert make_job().target.read_bytes() == CONTENT


async def test_a_stall_is_noticed_and_resumed(hub: Hub, make_job: MakeJob) -> None:
    """No byte for `stall_s` ends the attempt; the next one goes on from there."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(after_bytes=HALF, stall=True))
    await fetch(make_job(limits=replace(LIMITS, stall_s=1.0)), ignore)
    assert hub.starts(NAME) == [0, HALF]


@pytest.mark.own_time
async def test_a_slow_but_steady_download_is_left_alone(hub: Hub, make_job: MakeJob) -> None:
    """The whole takes longer than `stall_s`; no gap does."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(lag_s=1.0))
    await fetch(make_job(limits=replace(LIMITS, stall_s=5.0)), ignore)
    assert hub.starts(NAME) == [0]


async def test_a_passing_fault_of_the_server_is_retried(hub: Hub, make_job: MakeJob) -> None:
    """A 503 on the way is not the end."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(status=503))
    await fetch(make_job(), ignore)
    assert make_job().target.read_bytes() == CONTENT


async def test_a_damaged_file_is_deleted_and_the_next_download_begins_anew(
    hub: Hub, make_job: MakeJob
) -> None:
    """A byte differs from the hub's checksum: an error that says so, and nothing is kept."""
    hub.add(NAME, CONTENT)
    hub.faults[NAME].append(Fault(corrupt=True))
    with pytest.raises(ModelUnavailable, match=r"did not match and was deleted.*SHA-256") as caught:
        await fetch(make_job(), ignore)
    assert caught.value.retry_after_s < MISMATCH_RETRY_S
    assert list(make_job().target.parent.iterdir()) == []
    await fetch(make_job(), ignore)
    assert make_job().target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"sha1": "0" * 40}, "has SHA-1 .* instead of 0000"),
        ({"sha256": "0" * 64}, "has SHA-256 .* instead of 0000"),
        ({"size_bytes": 7}, "has size 1048576 instead of 7"),
    ],
)
async def test_a_file_that_the_catalogue_knows_otherwise_is_refused(
    hub: Hub, make_job: MakeJob, wanted: dict[str, Any], message: str
) -> None:
    """The hub vouches for the file, but it is not the one that was asked for.

    What the hub tells beforehand is not fetched to find that out, and requests do not repeat it.
    """
    hub.add(NAME, CONTENT)
    job = make_job(replace(SOURCE, **wanted))
    with pytest.raises(ModelUnavailable, match=message) as caught:
        await fetch(job, ignore)
    assert not job.target.exists()
    assert len(hub.starts(NAME)) == ("sha1" in wanted)
    assert caught.value.retry_after_s == MISMATCH_RETRY_S


async def test_the_right_sha1_is_accepted(hub: Hub, make_job: MakeJob) -> None:
    """The publisher states SHA-1 sums; upper case is the same sum."""
    hub.add(NAME, CONTENT)
    sha1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest().upper()
    assert (await fetch(make_job(replace(SOURCE, sha1=sha1)), ignore)).verified


@pytest.mark.parametrize(
    ("status", "headers"),
    [(401, {"X_Error_Code": "RepoNotFound"}), (403, {"X_Error_Code": "GatedRepo"}), (403, {})],
)
async def test_a_refusal_says_hf_token_and_where_the_terms_are(
    hub: Hub, make_job: MakeJob, status: int, headers: dict[str, str]
) -> None:
    """A private, gated or missing repository cannot be told apart: the message covers all."""
    hub.refuse(NAME, status, **headers)
    with pytest.raises(ModelUnavailable, match=rf"\({status}\).*HF_TOKEN") as caught:
        await fetch(make_job(), ignore)
    assert f"{hub.url}/owner/repo" in str(caught.value)


async def test_an_absent_file_is_named_with_its_repository(hub: Hub, make_job: MakeJob) -> None:
    """404: repo, file and revision, to be checked."""
    with pytest.raises(ModelUnavailable, match="owner/repo has no file ggml-x"):
        await fetch(make_job(), ignore)


async def test_too_many_requests_are_passed_on_with_the_time_to_wait(
    hub: Hub, make_job: MakeJob
) -> None:
    """429 is not retried at once; Retry-After reaches the client."""
    hub.refuse(NAME, 429, Retry_After="37")
    with pytest.raises(ModelUnavailable, match=r"429.*retry in 37 s") as caught:
        await fetch(make_job(), ignore)
    assert caught.value.retry_after_s == 37
    assert len(hub.tokens) == 1


async def test_too_many_requests_in_mid_download_keep_what_is_there(
    hub: Hub, make_job: MakeJob
) -> None:
    """The CDN limits too; the next attempt goes on where this one ended."""
    hub.add(NAME, CONTENT)
    limited = Fault(status=429, headers={"Retry-After": "5"})
    hub.faults[NAME].extend([Fault(after_bytes=HALF, cut=True), limited])
    with pytest.raises(ModelUnavailable, match="retry in 5 s"):
        await fetch(make_job(), ignore)
    await fetch(make_job(), ignore)
    assert hub.starts(NAME) == [0, HALF, HALF]


async def test_no_network_says_which_file_goes_where(make_job: MakeJob) -> None:
    """Nobody listens there."""
    with pytest.raises(ModelUnavailable, match="cannot be reached") as caught:
        await fetch(make_job(endpoint="http://127.0.0.1:1"), ignore)
    assert str(make_job().target) in str(caught.value)


async def test_too_little_room_is_noticed_before_the_first_byte(
    hub: Hub, make_job: MakeJob, directory: Path
) -> None:
    """The message says what is needed, what is free and where; nothing is fetched."""
    hub.add(NAME, CONTENT)
    limits = replace(LIMITS, min_free_bytes=2**60)
    with pytest.raises(StorageFull, match=r"needs 1048576 more bytes in .*: \d+ bytes are free"):
        await fetch(make_job(limits=limits), ignore)
    assert parts_of(path_of(SOURCE, directory)) == []


async def test_a_disk_that_fills_up_on_the_way_is_given_its_room_back(
    hub: Hub, make_job: MakeJob
) -> None:
    """A real ENOSPC: the incomplete file is /dev/full. It is deleted and the error says why."""
    sha256 = hub.add(NAME, CONTENT)
    job = make_job()
    part = part_of(job.target, sha256)
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(StorageFull, match=r"no room for the model.*No space left on device"):
        await fetch(job, ignore)
    assert not part.is_symlink()


async def test_a_directory_that_cannot_be_made_is_named(make_job: MakeJob, directory: Path) -> None:
    """The store's directory is a file, say."""
    directory.write_text("in the way")
    with pytest.raises(ModelUnavailable, match=f"in {directory}"):
        await fetch(make_job(), ignore)


async def test_a_new_version_replaces_what_was_begun_of_the_old_one(
    hub: Hub, make_job: MakeJob
) -> None:
    """The hub's file changed between two attempts: nothing of the old one is mixed in."""
    hub.add(NAME, CONTENT)
    limited = Fault(status=429)
    hub.faults[NAME].extend([Fault(after_bytes=HALF, cut=True), limited])
    with pytest.raises(ModelUnavailable):
        await fetch(make_job(), ignore)
    hub.add(NAME, CONTENT[::-1])
    await fetch(make_job(), ignore)
    assert make_job().target.read_bytes() == CONTENT[::-1]
    assert parts_of(make_job().target) == []


async def test_a_file_that_came_while_waiting_for_the_lock_is_not_fetched_again(
    hub: Hub, make_job: MakeJob
) -> None:
    """Another process holds the lock, puts the file there and lets go."""
    job = make_job()
    waiting = asyncio.Event()
    with lock_file(job.lock) as fd:
        assert try_lock(fd)
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            fetching = group.create_task(fetch(job, lambda _: waiting.set()))
            await waiting.wait()
            job.target.write_bytes(CONTENT)
            fcntl.flock(fd, fcntl.LOCK_UN)
    assert fetching.result() == Done(fetched_bytes=0, verified=False)
    assert hub.served == []


async def test_a_plain_address_is_resumed_while_its_etag_stays(hub: Hub, make_job: MakeJob) -> None:
    """Range with If-Range."""
    hub.add("ggml-y.bin", CONTENT)
    hub.faults["ggml-y.bin"].append(Fault(after_bytes=HALF, cut=True))
    job = make_job(UrlFile(url=f"{hub.url}/files/ggml-y.bin"))
    assert await fetch(job, ignore) == Done(fetched_bytes=HALF, verified=False)
    assert hub.starts("ggml-y.bin") == [0, HALF]
    assert job.target.read_bytes() == CONTENT


async def test_a_plain_address_is_checked_against_the_configured_sum(
    hub: Hub, make_job: MakeJob
) -> None:
    """`sha256` of the alias."""
    good = hub.add("ggml-y.bin", CONTENT)
    url = f"{hub.url}/files/ggml-y.bin"
    with pytest.raises(ModelUnavailable, match="has SHA-256"):
        await fetch(make_job(UrlFile(url=url, sha256="f" * 64)), ignore)
    assert (await fetch(make_job(UrlFile(url=url, sha256=good)), ignore)).verified


@pytest.mark.parametrize(
    ("status", "message"), [(403, "needs a permission"), (404, "no such file")]
)
async def test_a_refused_plain_address_is_shown_without_its_query(
    hub: Hub, make_job: MakeJob, status: int, message: str
) -> None:
    """A query may hold a signature or a key."""
    hub.refuse("ggml-y.bin", status)
    url = f"{hub.url}/files/ggml-y.bin?signature=secret"
    with pytest.raises(ModelUnavailable, match=message) as caught:
        await fetch(make_job(UrlFile(url=url)), ignore)
    assert "secret" not in str(caught.value)


async def test_the_bytes_are_asked_for_at_the_commit_that_was_looked_up(
    hub: Hub, make_job: MakeJob
) -> None:
    """A push between question and download cannot change what is fetched."""
    hub.add(NAME, CONTENT)
    await fetch(make_job(), ignore)
    assert hub.revisions == ["main", COMMIT]


async def test_a_server_without_head_is_asked_for_the_file_at_once(
    hub: Hub, make_job: MakeJob
) -> None:
    """Nothing says that two answers are the same file then, so a cut one is fetched anew."""
    hub.answers_head = False
    hub.add("ggml-y.bin", CONTENT)
    hub.faults["ggml-y.bin"].append(Fault(after_bytes=HALF, cut=True))
    job = make_job(UrlFile(url=f"{hub.url}/files/ggml-y.bin"))
    await fetch(job, ignore)
    assert hub.starts("ggml-y.bin") == [0, 0]
    assert job.target.read_bytes() == CONTENT


async def test_an_impossible_repository_name_is_refused_without_a_question(
    hub: Hub, make_job: MakeJob
) -> None:
    """The hub library knows what a name looks like."""
    with pytest.raises(ModelUnavailable, match="cannot be fetched"):
        await fetch(make_job(HubFile(repo="a b/c?d", file="x")), ignore)
    assert hub.tokens == []
