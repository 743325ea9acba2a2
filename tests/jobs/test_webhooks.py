"""Webhooks against receivers that are slow, broken, silent or gone."""

import asyncio
import base64
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from support.blocking import no_blocking_calls
from support.hosts import Names, abort, raw_host, web_host
from support.job_samples import make_job
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.jobs.model import Delivery, JobStatus, Webhook
from whisper_router.jobs.sqlite import open_store
from whisper_router.jobs.webhooks import SCHEDULE_S, WebhookOptions, WebhookSender, seconds_of

LOCAL = Outbound(OutboundOptions(allow_private=True))
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"id": "job_1", "text": "één \\u2028 \\"zwei\\""}'
ADAY_S = 86400.0


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.now_s = float(int(time.time()))

    def __call__(self) -> float:
        return self.now_s


class Outbox:
    """A store with deliveries, which tells of each attempt that is noted in it."""

    def __init__(self, store) -> None:
        self.store, self.clock = store, Clock()
        self.noted: asyncio.Queue[str] = asyncio.Queue()
        self.woken = asyncio.Event()
        self.looks: asyncio.Queue[None] = asyncio.Queue()
        self.failures: list[Exception] = []

    async def due(self, *, now_s: float, limit: int):
        try:
            return await self.store.due(now_s=now_s, limit=limit)
        finally:
            self.looks.put_nowait(None)

    async def tried(self, delivery_id: str, **what) -> None:
        if self.failures:
            self.noted.put_nowait("failed")
            raise self.failures.pop(0)
        await self.store.tried(delivery_id, **what)
        self.noted.put_nowait(delivery_id)

    async def wake(self) -> None:
        await self.woken.wait()
        self.woken.clear()

    async def put(self, url: str, number: int = 1, next_s: float | None = None, **webhook) -> None:
        """End a job whose end is to be told."""
        await self.store.add(make_job(f"job_{number}"))
        delivery = Delivery(
            id=f"msg_{number}",
            job_id=f"job_{number}",
            webhook=Webhook(url=url, **webhook),
            body=BODY,
            next_s=self.clock() if next_s is None else next_s,
        )
        await self.store.finish(
            f"job_{number}", JobStatus.COMPLETED, now_s=self.clock(), delivery=delivery
        )
        self.woken.set()

    async def get(self, number: int = 1) -> Delivery:
        return (await self.store.deliveries(f"job_{number}"))[0]

    async def tried_once(self, number: int = 1) -> Delivery:
        """Wait for an attempt, and return what is noted of the delivery."""
        async with asyncio.timeout(15):
            assert await self.noted.get() == f"msg_{number}"
        return await self.get(number)

    async def looked(self) -> None:
        """Wake the sender, and wait until it has looked for deliveries after that."""
        while not self.looks.empty():
            self.looks.get_nowait()
        self.woken.set()
        async with asyncio.timeout(15):
            await self.looks.get()

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now_s += seconds
        self.woken.set()

    @asynccontextmanager
    async def sender(self, outbound: Outbound = LOCAL, **options):
        """Run a sender."""
        sender = WebhookSender(
            store=self,
            outbound=outbound,
            options=WebhookOptions(**{"jitter": 0.0, **options}),
            wake=self.wake,
            clock=self.clock,
        )
        async with asyncio.TaskGroup() as group:
            with no_blocking_calls():
                task = group.create_task(sender.run())
                try:
                    yield
                finally:
                    task.cancel()
                    await asyncio.wait([task])


@pytest.fixture
async def outbox(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield Outbox(store)


class Receiver:
    """Answers with the statuses it is given, the last one for ever, and keeps what came."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self.statuses = list(statuses)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.came: list[tuple[web.Request, bytes]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.came.append((request, await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.headers)

    def header(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request, _ in self.came]


@pytest.mark.both_loops
async def test_a_delivery_arrives_as_it_is_with_a_signature_that_verifies(outbox: Outbox):
    """The specification's own library is content with it; the user's headers are there."""
    receiver = Receiver(204)
    async with web_host(receiver) as host, outbox.sender():
        headers = {"Authorization": "Bearer x", "X-Mine": "grüß"}
        await outbox.put(f"{host.url}/hook?a=%2F&b=1", headers=headers, secret=SECRET)
        delivery = await outbox.tried_once()
    ((request, body),) = receiver.came
    assert (request.method, request.raw_path, body.decode()) == ("POST", "/hook?a=%2F&b=1", BODY)
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "whisper-router"
    assert request.headers["Authorization"] == "Bearer x"
    assert request.headers["X-Mine"] == "grüß"
    assert request.headers["webhook-id"] == delivery.id
    Verifier(SECRET).verify(body, dict(request.headers))
    assert (delivery.attempts, delivery.next_s) == (1, None)
    assert delivery.delivered_s == outbox.clock()
    (entry,) = delivery.log
    assert entry.pop("took_ms") >= 0
    assert entry == {"at": outbox.clock(), "status": 204, "error": None}


async def test_a_large_body_arrives_whole(outbox: Outbox, monkeypatch):
    """The transcript of a long talk."""
    monkeypatch.setattr(f"{__name__}.BODY", "x" * (3 << 20))
    receiver = Receiver(200)
    async with web_host(receiver) as host, outbox.sender():
        await outbox.put(host.url, secret=SECRET)
        await outbox.tried_once()
    assert len(receiver.came[0][1]) == 3 << 20


async def test_what_failed_is_tried_again_with_the_same_id_and_a_new_time(outbox: Outbox):
    """Each attempt has its own signature."""
    receiver = Receiver(500, 404, 200)
    async with web_host(receiver) as host, outbox.sender():
        await outbox.put(host.url, secret=SECRET)
        first = await outbox.tried_once()
        assert (first.next_s, first.delivered_s) == (outbox.clock() + 5, None)
        outbox.pass_s(5)
        second = await outbox.tried_once()
        assert second.next_s == outbox.clock() + 300
        outbox.pass_s(300)
        last = await outbox.tried_once()
    assert receiver.header("webhook-id") == ["msg_1"] * 3
    times = [int(text) for text in receiver.header("webhook-timestamp")]
    assert [later - times[0] for later in times] == [0, 5, 305]
    assert len(set(receiver.header("webhook-signature"))) == 3
    assert [entry["status"] for entry in last.log] == [500, 404, 200]
    assert (last.next_s, last.delivered_s) == (None, outbox.clock())


async def test_a_receiver_that_always_fails_is_given_up_after_the_schedule(outbox: Outbox):
    """Ten attempts over three days, each of them in the log, and then no more."""
    receiver = Receiver(500)
    async with web_host(receiver) as host, outbox.sender():
        await outbox.put(host.url)
        began_s = outbox.clock()
        for wait_s in SCHEDULE_S:
            delivery = await outbox.tried_once()
            assert delivery.next_s == outbox.clock() + wait_s
            outbox.pass_s(wait_s)
        delivery = await outbox.tried_once()
        assert (delivery.next_s, delivery.delivered_s, delivery.attempts) == (None, None, 10)
        outbox.pass_s(30 * ADAY_S)
    assert [round(entry["at"] - began_s) for entry in delivery.log] == [
        *(0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105)
    ]
    assert [entry["status"] for entry in delivery.log] == [500] * 10
    assert len(receiver.came) == 10


async def test_a_schedule_of_milliseconds_needs_nobody_to_wake_the_sender(outbox: Outbox):
    """It sleeps until the next attempt is due."""
    outbox.clock = time.time
    receiver = Receiver(500, 503, 502, 200)
    async with web_host(receiver) as host, outbox.sender(schedule_s=(0.01,) * 5, jitter=0.5):
        await outbox.put(host.url)
        for _ in range(4):
            delivery = await outbox.tried_once()
    assert delivery.delivered_s is not None
    assert (delivery.attempts, len(receiver.came)) == (4, 4)


async def test_waits_are_spread(outbox: Outbox):
    """So that what failed together does not come back together."""
    async with web_host(Receiver(500)) as host, outbox.sender(schedule_s=(100.0,), jitter=0.5):
        waits = []
        for number in range(12):
            await outbox.put(host.url, number)
            waits.append((await outbox.tried_once(number)).next_s - outbox.clock())
    assert all(100 <= wait <= 150 for wait in waits)
    assert len(set(waits)) == 12


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(outbox: Outbox, status: int):
    """The user is to give the new address."""
    elsewhere = Receiver(200)
    async with web_host(elsewhere) as other:
        receiver = Receiver(status, Location=other.url)
        async with web_host(receiver) as host, outbox.sender():
            await outbox.put(host.url)
            delivery = await outbox.tried_once()
    assert [entry["status"] for entry in delivery.log] == [status]
    assert delivery.next_s == outbox.clock() + 5
    assert (len(receiver.came), len(elsewhere.came)) == (1, 0)


async def test_a_receiver_that_is_gone_is_left_alone(outbox: Outbox):
    """410 says that it wants no more."""
    async with web_host(Receiver(410)) as host, outbox.sender():
        await outbox.put(host.url)
        delivery = await outbox.tried_once()
    assert (delivery.next_s, delivery.delivered_s, delivery.attempts) == (None, None, 1)


async def silent(_reader, _writer):
    await asyncio.Event().wait()


async def trickle(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def hang_up(_reader, _writer):
    pass


async def reset(_reader, writer):
    abort(writer)


async def half_a_head(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()


async def no_http(_reader, writer):
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


@pytest.mark.both_loops
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (silent, "no answer in time"),
        (trickle, "no answer in time"),
        (hang_up, "closed too early"),
        (reset, "closed too early"),
        (half_a_head, "closed too early"),
        (no_http, "not HTTP"),
    ],
)
async def test_a_receiver_without_an_answer_is_tried_again(outbox: Outbox, answer, reason: str):
    """The log says why, and no more than that."""
    timeout_s = 0.2 if answer in {silent, trickle} else 15.0
    async with raw_host(answer) as host, outbox.sender(timeout_s=timeout_s):
        await outbox.put(f"{host.url}/?token=s3cret", headers={"X-Key": "s3cret"}, secret=SECRET)
        delivery = await outbox.tried_once()
    (entry,) = delivery.log
    assert entry["status"] is None
    assert reason in entry["error"]
    assert "s3cret" not in str(entry)
    assert set(entry) == {"at", "status", "error", "took_ms"}
    assert delivery.next_s == outbox.clock() + 5


async def test_nobody_listening_is_tried_again(outbox: Outbox):
    """A receiver that is being restarted."""
    async with raw_host(silent) as host:
        pass
    async with outbox.sender():
        await outbox.put(host.url)
        delivery = await outbox.tried_once()
    assert delivery.log[0]["error"] == "no connection could be made"
    assert delivery.next_s == outbox.clock() + 5


@pytest.mark.parametrize("length", ["Content-Length: 1000000000000\r\n", ""])
async def test_the_body_of_an_answer_is_not_read(outbox: Outbox, length: str):
    """Success is in the status; the connection is closed, however much is to come."""
    left = asyncio.Event()

    async def answer(_reader, writer):
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        finally:
            left.set()

    async with raw_host(answer) as host, outbox.sender():
        await outbox.put(host.url)
        delivery = await outbox.tried_once()
        async with asyncio.timeout(15):
            await left.wait()
    assert delivery.delivered_s is not None


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("120", 120), ("1", 5), ("9999999", 600), ("99999999999999", 600), ("soon", 5), ("-3", 5)],
)
async def test_a_receiver_may_ask_for_a_longer_wait(outbox: Outbox, header: str, wait_s: float):
    """Within a bound, and never for a shorter one."""
    receiver = Receiver(429, Retry_After=header)
    async with web_host(receiver) as host, outbox.sender(max_retry_after_s=600):
        await outbox.put(host.url)
        assert (await outbox.tried_once()).next_s == outbox.clock() + wait_s


def test_a_wait_may_be_given_as_a_date():
    """RFC 9110 10.2.3; one that has passed asks for nothing."""
    date = format_datetime(datetime.fromtimestamp(1000, tz=UTC), usegmt=True)
    assert seconds_of(date, now_s=400.0) == 600.0
    assert seconds_of(date, now_s=2000.0) == 0.0
    assert seconds_of("Wed, 99 Foo 2026 99:00:00", now_s=0.0) == 0.0


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://inside.test:{port}/"])
async def test_a_forbidden_address_is_refused_without_a_connection(outbox: Outbox, url: str):
    """It is tried again: the settings, or the name's address, may change."""
    outbound = Outbound(OutboundOptions(), Names({"inside.test": [["127.0.0.1"]]}))
    async with raw_host(silent) as host, outbox.sender(outbound):
        await outbox.put(url.format(port=host.port))
        delivery = await outbox.tried_once()
        assert host.connections == 0
    assert delivery.log[0]["error"].startswith("refused: ")
    assert delivery.log[0]["status"] is None
    assert delivery.next_s == outbox.clock() + 5


@pytest.mark.parametrize(
    "webhook",
    [{"headers": {"X-A": "1\r\nX-B: 2"}}, {"headers": {"Host": "x"}}, {"secret": "whsec_s3cret!"}],
)
async def test_what_can_never_be_sent_is_given_up_at_once(outbox: Outbox, webhook):
    """It should not have got into the store."""
    async with raw_host(silent) as host, outbox.sender():
        await outbox.put(host.url, **webhook)
        delivery = await outbox.tried_once()
        assert host.connections == 0
    assert delivery.log[0]["error"].startswith("refused: ")
    assert "s3cret" not in delivery.log[0]["error"]
    assert delivery.next_s is None


async def test_an_attempt_that_was_cut_off_is_made_again_with_the_same_id(tmp_path):
    """The process ended before the answer: another one opens the store and goes on."""
    ids, arrived = [], asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        ids.append(request.headers["webhook-id"])
        if len(ids) == 1:
            arrived.set()
            await asyncio.Event().wait()
        return web.Response()

    async with web_host(handle) as host:
        async with open_store(tmp_path / "jobs.db") as store:
            outbox = Outbox(store)
            async with outbox.sender(), asyncio.timeout(15):
                await outbox.put(host.url)
                await arrived.wait()
            assert (await outbox.get()).attempts == 0
        async with open_store(tmp_path / "jobs.db") as store:
            outbox = Outbox(store)
            async with outbox.sender():
                delivery = await outbox.tried_once()
    assert ids == ["msg_1", "msg_1"]
    assert (delivery.attempts, delivery.delivered_s) == (1, outbox.clock())


async def test_a_wait_goes_on_after_a_restart(tmp_path):
    """What failed before is not tried sooner, and its log is kept."""
    receiver = Receiver(500, 200)
    async with web_host(receiver) as host:
        async with open_store(tmp_path / "jobs.db") as store:
            outbox = Outbox(store)
            async with outbox.sender():
                await outbox.put(host.url)
                await outbox.tried_once()
        async with open_store(tmp_path / "jobs.db") as store:
            clock, outbox = outbox.clock, Outbox(store)
            outbox.clock = clock
            async with outbox.sender():
                outbox.pass_s(4)
                await outbox.put(host.url, number=2)
                await outbox.tried_once(2)
                assert (await outbox.get()).attempts == 1
                outbox.pass_s(1)
                delivery = await outbox.tried_once()
    assert receiver.header("webhook-id") == ["msg_1", "msg_2", "msg_1"]
    assert [entry["status"] for entry in delivery.log] == [500, 200]


async def test_only_so_many_run_at_once_and_none_of_them_twice(outbox: Outbox):
    """However often the sender is woken meanwhile."""
    open_ids, most, came = set(), 0, asyncio.Queue()
    release = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        nonlocal most
        name = request.headers["webhook-id"]
        assert name not in open_ids
        open_ids.add(name)
        most = max(most, len(open_ids))
        came.put_nowait(name)
        await release.wait()
        open_ids.discard(name)
        return web.Response()

    async with web_host(handle) as host, outbox.sender(max_concurrent=3), asyncio.timeout(20):
        for number in range(10):
            await outbox.put(host.url, number, next_s=outbox.clock() - 100 + number)
        assert {await came.get() for _ in range(3)} == {"msg_0", "msg_1", "msg_2"}
        for _ in range(5):
            await outbox.looked()
        assert came.empty()
        release.set()
        assert {await outbox.noted.get() for _ in range(10)} == {f"msg_{n}" for n in range(10)}
    assert most == 3
    assert [(await outbox.get(number)).attempts for number in range(10)] == [1] * 10


async def test_a_silent_receiver_does_not_hold_up_the_next_delivery(outbox: Outbox):
    """It becomes due while the other one is waited for; nobody wakes the sender."""
    arrived = asyncio.Event()

    async def stick(_reader, _writer):
        arrived.set()
        await asyncio.Event().wait()

    began_s = time.time()
    outbox.clock = lambda: time.time() if arrived.is_set() else began_s
    async with raw_host(stick) as stuck, web_host(Receiver(200)) as host:
        await outbox.put(stuck.url, 1)
        await outbox.put(host.url, 2, next_s=began_s + 0.3)
        async with outbox.sender(timeout_s=60):
            assert (await outbox.tried_once(2)).delivered_s is not None
            assert arrived.is_set()
    assert (await outbox.get(1)).attempts == 0


async def test_a_store_that_cannot_note_does_not_make_the_sender_call_without_end(outbox: Outbox):
    """It leaves the receiver alone for a while, however often it is woken, and then tells again."""
    receiver = Receiver(200)
    outbox.failures.append(OSError("the disk is full"))
    with capture_logs() as logs:
        async with web_host(receiver) as host:
            async with outbox.sender(hold_off_s=1000):
                await outbox.put(host.url)
                assert await outbox.noted.get() == "failed"
                for _ in range(5):
                    await outbox.looked()
                assert len(receiver.came) == 1
            outbox.failures.append(OSError("the disk is full"))
            async with outbox.sender(hold_off_s=0.05):
                assert await outbox.noted.get() == "failed"
                assert (await outbox.tried_once()).delivered_s is not None
    assert receiver.header("webhook-id") == ["msg_1"] * 3
    assert [entry["event"] for entry in logs] == ["webhook_not_noted"] * 2 + ["webhook_delivered"]


async def test_a_store_that_cannot_be_read_is_asked_again_later(outbox: Outbox):
    """The sender does not end of it."""
    failures, due = [OSError("the disk is gone")], outbox.due

    async def failing_due(**what):
        if failures:
            raise failures.pop()
        return await due(**what)

    outbox.due = failing_due
    async with web_host(Receiver(200)) as host:
        await outbox.put(host.url)
        outbox.woken.clear()
        with capture_logs() as logs:
            async with outbox.sender(hold_off_s=0.05):
                assert (await outbox.tried_once()).delivered_s is not None
    assert [entry["event"] for entry in logs] == ["webhooks_not_read", "webhook_delivered"]
