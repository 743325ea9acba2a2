"""A real `whisper-router serve` as a child process, on a free port of loopback."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support import kept_logs
from whisper_router.supervisor.guard import SHORT_PARENT, short_name

START_S = 60.0
STOP_S = 90.0


@dataclass
class ServerProcess:
    """The running server; `log` grows while it runs."""

    process: subprocess.Popen[str]
    url: str
    log: list[dict[str, object]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    name: str = field(default_factory=lambda: f"server-{uuid.uuid4().hex}")
    """Of the file in which its log is kept."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def wait_for_log(self, event: str, *, count: int = 1, timeout_s: float = 60.0) -> dict:
        """Return the `count`-th log line with this event, waiting for it."""

        def seen() -> list[dict[str, object]]:
            return [line for line in self.log if line.get("event") == event]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(seen()) >= count, timeout_s), (
                f"no '{event}' in the log: {self.log}"
            )
            return seen()[count - 1]

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(STOP_S)


@contextmanager
def running_server(
    directory: Path,
    *,
    config: str = "",
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    prefix: Sequence[str] = (),
) -> Iterator[ServerProcess]:
    """Start a server whose files all lie in `directory`; it is killed at the end if need be.

    `prefix` is a program that becomes the server.
    """
    path = directory / "router.toml"
    path.write_text(config, encoding="utf-8")
    secrets = kept_logs.keep_secrets(config, env or {})
    process = subprocess.Popen(
        [*prefix, python, "-m", "whisper_router.cli", "serve", "--config", str(path)],
        env=environment(directory) | dict(env or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = ServerProcess(process=process, url="")
    reader = threading.Thread(target=_read_log, args=(server,), daemon=True)
    reader.start()
    try:
        server.url = str(server.wait_for_log("serving", timeout_s=START_S)["url"])
        yield server
        if process.poll() is None:
            kept_logs.keep_engine_output(server.name, server.url, secrets)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_S)
        reader.join(STOP_S)
        assert process.stderr is not None
        process.stderr.close()
        if process.returncode:
            _remove_sockets_later(directory)


def environment(directory: Path) -> dict[str, str]:
    """Return an environment in which nothing of this user's is read or written."""
    keep = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    return keep | {
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "WHISPER_ROUTER__SERVER__PORT": "0",
        "WHISPER_ROUTER__SERVER__LOG_FORMAT": "json",
        "WHISPER_ROUTER__SERVER__LOG_LEVEL": "debug",
        "WHISPER_ROUTER__STORE__OFFLINE": "true",
    }


def _remove_sockets_later(directory: Path) -> None:
    """When all tests are over, remove what a killed server has left outside of `directory`.

    Not earlier: the next server in the same directory shall find it.
    """
    for parent, folders, _ in os.walk(directory):
        if "sockets" in folders:
            left = SHORT_PARENT / short_name(Path(parent))
            atexit.register(shutil.rmtree, left, ignore_errors=True)


def _read_log(server: ServerProcess) -> None:
    assert server.process.stderr is not None
    kept_logs.keep(server.name, f"# {os.environ.get('PYTEST_CURRENT_TEST', '')}\n")
    for text in server.process.stderr:
        kept_logs.keep(server.name, text)
        try:
            line = json.loads(text)
        except ValueError:
            line = {"event": "not_json", "text": text.rstrip()}
        with server.arrived:
            server.log.append(line)
            server.arrived.notify_all()
    with server.arrived:
        server.arrived.notify_all()
