"""A router in front of two others: real processes, real speech, one of them killed."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import openai
import pytest

from support.client import ask, queue_of, session, state_of
from support.engine_processes import forked_workers, frozen
from support.odd_server import OddServer, odd_server
from support.realtime_client import pcm24, realtime
from support.server import ServerProcess, running_server
from support.speech import sample as bundled
from whisper_router.supervisor.listeners import free_port

KEYS = ("key-of-the-first", "key-of-the-second")
WAIT_S = 60
TRANSCRIPTIONS = "/v1/audio/transcriptions"
HELLO = bundled("en_hello_gb")


def upstream(folder: Path, key: str) -> str:
    return f'default_model = "demo"\n[auth]\napi_key = "{key}"\n[models.demo]\nmodel = "demo"\n'


def front(*urls: str, extra: str = "") -> str:
    listed = ", ".join(f'"{url}/v1"' for url in urls)
    keys = ", ".join(f'"{url}/v1" = "{key}"' for url, key in zip(urls, KEYS, strict=False))
    alias = f'engine = "upstream"\nbase_urls = [{listed}]\nremote_model = "demo"\n{extra}'
    return (
        f'default_model = "box"\n[models.box]\n{alias}api_keys = {{ {keys} }}\n'
        f"[models.chunks]\n{alias}api_keys = {{ {keys} }}\npassthrough = false\n"
    )


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Iterator[list[ServerProcess]]:
    """Two routers that hear, each with a key of its own."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(f"upstream{number}") for number in range(2)]
        yield [
            stack.enter_context(running_server(folder, config=upstream(folder, key)))
            for folder, key in zip(folders, KEYS, strict=True)
        ]


@pytest.fixture(scope="module")
def router(tmp_path_factory, others) -> Iterator[ServerProcess]:
    """A router that has no engine of its own at work."""
    config = front(*(other.url for other in others))
    with running_server(tmp_path_factory.mktemp("front"), config=config) as server:
        yield server


@pytest.fixture
async def odd() -> AsyncIterator[OddServer]:
    async with odd_server() as server:
        yield server


@pytest.mark.parametrize("model", ["whisper-1", "chunks"])
async def test_every_format_is_what_the_other_router_gives(router, others, samples, model):
    """Sent on whole, or as chunks: the official client sees no difference."""
    sample = next(iter(samples.values()))
    here = openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="-", max_retries=0)
    there = openai.AsyncOpenAI(base_url=f"{others[0].url}/v1", api_key=KEYS[0], max_retries=0)
    async with here, there:
        for wanted in ("json", "text", "srt", "vtt", "verbose_json"):
            answers = [
                await client.audio.transcriptions.create(
                    model=name, file=sample["path"], response_format=wanted
                )
                for client, name in ((here, model), (there, "demo"))
            ]
            if wanted == "verbose_json":
                assert answers[0].text == answers[1].text
                assert answers[0].language == answers[1].language
            else:
                assert answers[0] == answers[1]


async def test_text_comes_through_as_events(router, samples):
    """Deltas and the end, as the other router sends them."""
    sample = next(iter(samples.values()))
    client = openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="-", max_retries=0)
    async with client:
        stream = await client.audio.transcriptions.create(
            model="box", file=sample["path"], stream=True
        )
        events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == sample["text"]
    assert "".join(event.delta for event in events[:-1]) == sample["text"]


@pytest.mark.parametrize("model", ["box", "chunks"])
async def test_live_sessions_are_heard_elsewhere(router, others, model):
    """The other routers recognise window after window; the turns are found here."""
    async with session() as http, asyncio.timeout(WAIT_S):
        async with realtime(http, router.url, model=model) as client:
            await client.append(pcm24("en_three_segments", silence_s=1))
            texts = [(await client.completed())["transcript"] for _ in range(3)]
        assert " ".join(texts) == bundled("en_three_segments").text
        for other in others:
            assert not any(line.get("event") == "live_session_began" for line in other.log)


async def test_both_have_work_when_there_is_enough(router, others, samples):
    """And none is lost when one of them is killed with SIGKILL under load.

    Nothing of an answer had come, so each request goes to the one that is left.
    """
    sample = next(iter(samples.values()))
    victim, survivor = others
    async with session() as http:
        async with asyncio.timeout(WAIT_S):
            for other, key in zip(others, KEYS, strict=True):
                await _load(other, key, sample["path"])
        with ExitStack() as frozen_workers:  # nothing is answered before one of them is killed
            for other in others:
                for worker in forked_workers(other):
                    frozen_workers.enter_context(frozen(worker))
            asking = asyncio.gather(
                *(ask(http, router.url, sample["path"], model="box") for _ in range(12))
            )
            async with asyncio.timeout(WAIT_S):
                for other, key in zip(others, KEYS, strict=True):
                    await _until_busy(other, key)
            victim.process.send_signal(signal.SIGKILL)
        answers = await asking
        assert [status for status, _ in answers] == [200] * len(answers)
        assert {body["text"] for _, body in answers} == {sample["text"]}
        await asyncio.to_thread(router.wait_for_log, "upstream_put_aside")
        async with asyncio.timeout(WAIT_S):
            while (pool := await _pool(http, router))["leases"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    states = {process["url"]: process["state"] for process in pool["processes"]}
    assert states == {f"{victim.url}/v1": "stopped", f"{survivor.url}/v1": "ready"}


async def _load(other: ServerProcess, key: str, path: Path) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        assert (await ask(http, other.url, path))[0] == 200


async def _until_busy(other: ServerProcess, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        while True:
            queue = await queue_of(http, other.url)
            if queue["running"] and queue["waiting"]:
                return
            await asyncio.sleep(0.01)


async def test_an_upload_is_sent_on_while_it_arrives(tmp_path, odd):
    """The other server has the first part before the client has sent the last."""
    rest = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nbox\r\n"
        yield b'--b\r\nContent-Disposition: form-data; name=file; filename="a.wav"\r\n\r\n'
        yield b"first" * 100_000
        await rest.wait()
        yield b"last\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with running_server(tmp_path, config=front(odd.url)) as router:
        async with session() as http:
            asking = asyncio.ensure_future(  # noqa: TID251 - this test owns it
                http.post(router.url + TRANSCRIPTIONS, data=body(), headers=headers)
            )
            seen = b""
            async with asyncio.timeout(WAIT_S):
                while seen.count(b"first") < 10_000:
                    seen += await odd.arrived.get()
            assert not rest.is_set()
            rest.set()
            async with await asking as response:
                assert response.status == 200
                assert (await response.json())["text"] == "hello"
    assert odd.bodies[0].count(b"first") == 100_000
    assert b"demo" in odd.bodies[0]


async def test_a_job_is_ours_also_where_uploads_are_sent_on(tmp_path):
    """Though the upload says so after its file; the other server makes none."""
    folders = [tmp_path / name for name in ("other", "front")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        config = upstream(folders[0], KEYS[0])
        other = stack.enter_context(running_server(folders[0], config=config))
        config = front(other.url) + f'[jobs]\ndirectory = "{tmp_path}/jobs"\n'
        router = stack.enter_context(running_server(folders[1], config=config))
        async with session() as http, asyncio.timeout(WAIT_S):
            form = aiohttp.FormData({"model": "box"})
            form.add_field("file", HELLO.path.read_bytes(), filename="hello.wav")
            form.add_field("async", "true")
            async with http.post(router.url + TRANSCRIPTIONS, data=form) as response:
                job = await response.json()
                assert (response.status, job.get("object")) == (202, "job"), job
            async with http.get(f"{router.url}/v1/jobs/{job['id']}/events") as response:
                assert '"status":"completed"' in await response.text()
            async with http.get(f"{router.url}/v1/jobs/{job['id']}/result") as response:
                assert (await response.json())["text"] == HELLO.text


async def test_who_leaves_frees_the_other_server_and_the_spool(tmp_path, odd):
    """Its request is broken off there, too."""
    odd.do = "be silent"
    with running_server(tmp_path, config=front(odd.url)) as router:
        async with session() as http:
            form = aiohttp.FormData({"model": "box"})
            form.add_field("file", io.BytesIO(b"x" * 1000), filename="a.wav")
            asking = asyncio.ensure_future(  # noqa: TID251 - this test owns it
                http.post(router.url + TRANSCRIPTIONS, data=form)
            )
            async with asyncio.timeout(WAIT_S):
                await odd.arrived.get()
                asking.cancel()
                await odd.left.wait()
                while (await _pool(http, router))["leases"] or _spooled(tmp_path):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_a_request_that_comes_back_is_refused(tmp_path, samples):
    """Its alias names the router itself: without a limit it would go round for ever."""
    port = free_port()  # one that no outgoing connection takes before the router listens
    url = f"http://127.0.0.1:{port}"
    config = front(url).replace('remote_model = "demo"', 'remote_model = "box"', 1)
    config = config.replace('remote_model = "demo"', 'remote_model = "chunks"')
    env = {"WHISPER_ROUTER__SERVER__PORT": str(port)}
    sample = next(iter(samples.values()))
    with running_server(tmp_path, config=config, env=env) as router:
        async with session() as http:
            for model in ("box", "chunks"):
                status, body = await ask(http, router.url, sample["path"], model=model)
                assert (status, body["error"]["code"]) == (508, "loop_detected")


async def test_a_wrong_key_there_is_no_wrong_key_here(tmp_path, others, samples):
    """A client with status 401 would look for the fault in its own key."""
    sample = next(iter(samples.values()))
    config = front(others[1].url)  # with the other one's key
    with running_server(tmp_path, config=config) as router:
        async with session() as http:
            status, body = await ask(http, router.url, sample["path"], model="box")
            assert (status, body["error"]["code"]) == (503, "engine_start_failed")
            assert "api_key" in body["error"]["message"]
            assert (await state_of(http, router.url, "box"))["state"] == "stopped"


async def test_nobody_there_is_said_at_once(tmp_path, samples):
    """With the address, and whether it may be tried again."""
    sample = next(iter(samples.values()))
    url = f"http://127.0.0.1:{free_port()}"
    config = front(url)
    with running_server(tmp_path, config=config) as router:
        async with session() as http:
            for model in ("box", "chunks"):
                status, body = await ask(http, router.url, sample["path"], model=model)
                assert status == 503
                assert f"{url}/v1" in body["error"]["message"]


def _spooled(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("run-*/*") if path.is_file()]


async def _pool(http: aiohttp.ClientSession, router: ServerProcess) -> dict:
    async with http.get(f"{router.url}/v1/processes/box") as response:
        return await response.json()
