"""The worker's HTTP, without a model."""

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from whisper_router.domain import Chunk, TranscriptionRequest
from whisper_router_engines.whispercpp.protocol import order_json
from whisper_router_engines.whispercpp.server import Server

ORDER = json.dumps(
    order_json(Chunk(path="/spool/a", start=0, end=1), TranscriptionRequest(model="x"))
).encode()


class Echo:
    """Answers with the order's path, or waits until the client has gone."""

    def __init__(self) -> None:
        self.abandoned = threading.Event()

    def run(self, order, emit, gone) -> None:
        if order.task == "transcribe":
            emit({"event": "echo", "path": order.path})
            return
        while not gone:
            pass
        self.abandoned.set()


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def address(model: Echo, tmp_path) -> Iterator[str]:
    """Serve in a thread until the listener closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server = Server(
        listener=listener,
        model=model,
        health={"ok": True},
        on_accept=lambda: None,
        expendable=False,
    )

    def serve() -> None:
        try:
            server.serve()
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield str(tmp_path / "s")
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    listener.close()
    assert not thread.is_alive()


def talk(address: str, *pieces: bytes) -> tuple[int, bytes]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(address)
        for piece in pieces:
            client.sendall(piece)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def post(body: bytes) -> bytes:
    return b"POST /transcribe HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def events(body: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in body.splitlines()]


def test_health_is_json(address):
    """What the plugin's `is_ready` reads."""
    assert talk(address, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == (200, b'{"ok": true}')


def test_an_order_is_answered_with_events(address):
    """Started with the process id, what the model emits, done; also when it comes in pieces."""
    request = post(ORDER)
    for pieces in ([request], [request[:10], request[10:70], request[70:]]):
        status, body = talk(address, *pieces)
        assert status == 200
        assert events(body) == [
            {"event": "started", "pid": os.getpid()},
            {"event": "echo", "path": "/spool/a"},
            {"event": "done"},
        ]


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"path": 1}'])
def test_a_bad_order_is_rejected_with_a_message(address, body):
    """An event like any other, so the plugin knows whose fault it was."""
    last = events(talk(address, post(body))[1])[-1]
    assert (last["event"], last["code"]) == ("error", "rejected")
    assert last["message"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", 404),
        (b"nonsense\r\n\r\n", 404),
        (b"POST /transcribe HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /transcribe HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"POST /transcribe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_other_requests_are_refused(address, request_bytes, status):
    """And the worker serves on."""
    assert talk(address, request_bytes)[0] == status
    assert talk(address, b"GET /health HTTP/1.1\r\n\r\n")[0] == 200


def test_a_client_that_leaves_is_noticed(address, model):
    """While computing, in the middle of a request, and before one."""
    order = json.loads(ORDER) | {"task": "translate"}
    for request in (b"", b"POST /tra", post(json.dumps(order).encode())):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(address)
            client.sendall(request)
            if request.endswith(b"}"):
                answer = b""
                while b"started" not in answer:
                    answer += client.recv(4096)
    assert model.abandoned.wait(10)
    assert talk(address, b"GET /health HTTP/1.1\r\n\r\n")[0] == 200
