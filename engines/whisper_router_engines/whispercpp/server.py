"""The worker's HTTP: one connection at a time, on a Unix socket, each answered and closed."""

import json
import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from whisper_router_engines.whispercpp.inference import ComputationError
from whisper_router_engines.whispercpp.notes import Notes
from whisper_router_engines.whispercpp.protocol import Order, OrderError, parse_order

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 4 * 1024 * 1024
IO_TIMEOUT_S = 30.0
"""How long a client may neither read nor write before it counts as gone."""
ABORT_GRACE_S = 1.0
"""How long whisper.cpp may take to notice an abort; language detection cannot be aborted."""
EXIT_ABANDONED = 0


class Transcriber(Protocol):
    """What the server needs of a model."""

    def run(self, order: Order, emit: Callable[[dict[str, Any]], None], gone: list[bool]) -> None:
        """Carry out one order; see `inference.Model.run`."""
        ...


class RequestError(Exception):
    """What arrived is not HTTP that we read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Serves one model on a listening socket.

    `on_accept` is called for each connection. An `expendable` process ends itself when an
    abandoned computation does not stop soon, because another takes its place in milliseconds.
    """

    listener: socket.socket
    model: Transcriber
    health: dict[str, Any]
    on_accept: Callable[[], None]
    expendable: bool

    def serve(self) -> None:
        """Answer connections until the process ends.

        Raises:
            ComputationError, MemoryError: whisper.cpp's state cannot be used any more.
        """
        while True:
            connection, _ = self.listener.accept()
            self.on_accept()
            with connection:
                connection.settimeout(IO_TIMEOUT_S)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            method, target, body = _read_request(connection)
            if (method, target) == ("GET", "/health"):
                _send_json(connection, 200, self.health)
            elif (method, target) == ("POST", "/transcribe"):
                self._transcribe(connection, body)
            else:
                _send_json(connection, 404, {"message": f"no {method} {target} here"})
        except RequestError as error:
            _send_json(connection, 400, {"message": str(error)})
        except OSError:
            return  # the client went away; nobody is left to be told

    def _transcribe(self, connection: socket.socket, body: bytes) -> None:
        gone: list[bool] = []
        connection.sendall(_head(200, "application/x-ndjson"))

        def emit(event: dict[str, Any]) -> None:
            connection.sendall(json.dumps(event, allow_nan=False).encode() + b"\n")

        emit({"event": "started", "pid": os.getpid()})
        watch, notes = Watch(connection, gone, expendable=self.expendable), Notes()
        try:
            order = parse_order(_parse_json(body))
            notes.began(order)
            self.model.run(order, emit, gone)
            notes.ended("given up" if gone else "done")
            if not gone:
                emit({"event": "done"})
        except OrderError as error:
            notes.ended("refused")
            message = str(error)
            emit({"event": "error", "code": "rejected", "message": message, "param": error.param})
        except MemoryError as error:
            notes.failed(error)
            emit({"event": "error", "code": "out_of_memory", "message": f"out of memory: {error}"})
            raise
        except ComputationError as error:
            notes.failed(error)
            emit({"event": "error", "code": "failed", "message": str(error)})
            raise
        finally:
            watch.close()


class Watch:
    """Notes in `gone` when the client closes the connection while we compute."""

    def __init__(self, connection: socket.socket, gone: list[bool], *, expendable: bool) -> None:
        self._connection, self._gone, self._expendable = connection, gone, expendable
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch and the connection; what was sent still arrives."""
        self._done.set()
        with suppress(OSError):  # the client may have been faster
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()

    def _watch(self) -> None:
        # Nothing more is expected from the client, so anything readable is its end.
        select.select([self._connection], [], [])
        if self._done.is_set():
            return
        self._gone.append(True)
        if self._expendable and not self._done.wait(ABORT_GRACE_S):
            os._exit(EXIT_ABANDONED)


def _read_request(connection: socket.socket) -> tuple[str, str, bytes]:
    """Return (method, target, body) of the one request on this connection."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEAD_LIMIT_BYTES:
            raise RequestError("the request head is too long")
        data += _receive(connection)
    lines = data[:end].decode("latin-1").split("\r\n")
    method, target, *_ = [*lines[0].split(" "), "", ""]
    length = _content_length(lines[1:])
    body = data[end + 4 :]
    while len(body) < length:
        body += _receive(connection)
    return method, target, bytes(body)


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(HEAD_LIMIT_BYTES)
    if not data:
        raise ConnectionResetError
    return data


def _content_length(lines: list[str]) -> int:
    headers = dict(line.lower().split(":", 1) for line in lines if ":" in line)
    if "transfer-encoding" in headers:
        raise RequestError("a body needs a Content-Length here")
    text = headers.get("content-length", "0").strip()
    if not text.isdecimal() or int(text) > BODY_LIMIT_BYTES:
        raise RequestError(f"a Content-Length of {text} cannot be served")
    return int(text)


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise OrderError(f"the order is not JSON: {error}") from error


def _head(status: int, content_type: str) -> bytes:
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
    ).encode()


def _send_json(connection: socket.socket, status: int, body: dict[str, Any]) -> None:
    connection.sendall(_head(status, "application/json") + json.dumps(body).encode())
